"""A client for the platform's own servers, which speak plain HTTP: replicas, Envoy's admin port, the API inside.

httpx makes a TLS context for each client, and reads all certificates of the machine for it: some 50 ms, in which an
event loop does nothing else. Here all clients share one context that trusts nobody, so an `https` address fails instead
of being asked unverified. A proxy of the environment isn't meant for one's own servers.
"""

import ssl

import httpx

_TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def plain_client(
    *,
    timeout: float,
    base_url: str = "",
    limits: httpx.Limits = httpx.Limits(),  # noqa: B008 - it never changes
    transport: httpx.AsyncBaseTransport | None = None,
) -> httpx.AsyncClient:
    """Create a client that gives each step of a request `timeout` seconds."""
    return httpx.AsyncClient(
        timeout=timeout, base_url=base_url, limits=limits, transport=transport, verify=_TRUSTS_NOBODY, trust_env=False
    )
