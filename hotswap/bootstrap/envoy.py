"""The files that Envoy needs to start."""

from hotswap.settings import TrafficAgentSettings, load
from serving.envoy import prepare
from serving.envoy.tls import check_certificate


def run() -> None:
    """Write what is missing. Raises where Envoy can't use the certificate: it would wait without a word."""
    settings = load(TrafficAgentSettings)
    check_certificate(settings.gateway)
    prepare(settings)
