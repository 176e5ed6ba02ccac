"""A proxy's registration: its reports renew its lease, over Redis, or at the API while Redis is away."""

import contextlib

import httpx

from hotswap.domain.errors import ProxyNameTaken, Unavailable
from hotswap.domain.traffic import ProxyReport
from hotswap.ports import TrafficBus
from hotswap.settings import TrafficAgentSettings
from serving.agent_state import ProxyIdentity
from serving.plan_endpoint import PlanEndpoint
from serving.public_listeners import PublicListeners


class ProxyRegistration:
    def __init__(
        self, settings: TrafficAgentSettings, bus: TrafficBus, api: PlanEndpoint, listeners: PublicListeners
    ) -> None:
        self._proxy = settings.agent.proxy
        self._bus = bus
        self._api = api
        self._listeners = listeners
        self._identity = ProxyIdentity(settings.agent.envoy_dir)

    @property
    def incarnation(self) -> str:
        return self._identity.incarnation

    async def renew(self, report: ProxyReport) -> None:
        """Send a report; the listeners know what comes of it. Where nobody can take it, the next one will do."""
        try:
            await self._send(report)
        except ProxyNameTaken as error:
            self._listeners.name_taken = error.message
        except (Unavailable, httpx.HTTPError, OSError):
            pass
        else:
            self._listeners.is_registered, self._listeners.name_taken = True, None
            self._identity.renewed()

    async def _send(self, report: ProxyReport) -> None:
        try:
            await self._bus.report(report)
        except Unavailable:
            await self._api.report(report)

    async def sign_off(self) -> None:
        """Say that this proxy has shut down, so that nobody waits for it."""
        with contextlib.suppress(Unavailable):
            await self._bus.remove_proxy(self._proxy, incarnation=self.incarnation)
        with contextlib.suppress(httpx.HTTPError, OSError):
            await self._api.sign_off(self._proxy, self.incarnation)
