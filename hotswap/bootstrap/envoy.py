"""The files that Envoy needs to start."""

import asyncio

from hotswap.settings import TrafficAgentSettings, load
from serving.agent_state import is_lost
from serving.envoy import prepare
from serving.envoy.admin import EnvoyAdmin
from serving.envoy.files import close_listeners
from serving.envoy.tls import check_certificate


def run() -> None:
    """Write what is missing. Raises where Envoy can't use the certificate: it would wait without a word.

    After a silence that was longer than the lease of this proxy, Envoy starts without its public listeners. The agent
    opens them with the newest plan: the routes on the disk are old, and nobody may have waited for this proxy.
    """
    settings = load(TrafficAgentSettings)
    check_certificate(settings.gateway)
    prepare(settings)
    if is_lost(settings.agent.envoy_dir) and not asyncio.run(_is_running(settings)):
        close_listeners(settings)


async def _is_running(settings: TrafficAgentSettings) -> bool:
    admin = EnvoyAdmin(settings.agent.envoy_admin_url)
    try:
        return await admin.is_live()
    finally:
        await admin.aclose()
