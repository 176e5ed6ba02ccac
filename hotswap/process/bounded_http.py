"""One bounded HTTP call to somebody else's server: so long, so large, and nowhere but there.

Addresses come from the settings only, and redirects are not followed: a deployment's configuration can't make HotSwap
call where it likes. No message holds the address or a header, since either may hold a secret. How long it may take is
the metric's, and ended by who asks (`activities/observations.py`).
"""

from collections.abc import Mapping

import httpx
import msgspec

from hotswap.domain.errors import Unavailable

MOST_ANSWER_BYTES = 1024**2


async def asked(http: httpx.AsyncClient, request: httpx.Request, *, who: str) -> tuple[int, object]:
    """Send a request, and return the status and the JSON of the answer. Raises Unavailable."""
    try:
        response = await http.send(request, stream=True)
    except httpx.HTTPError as error:
        raise Unavailable(f"{who} does not answer: {type(error).__name__}") from None
    body = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MOST_ANSWER_BYTES:
                raise Unavailable(f"{who} answers more than {MOST_ANSWER_BYTES} bytes")
    except httpx.HTTPError as error:
        raise Unavailable(f"{who} broke off its answer: {type(error).__name__}") from None
    finally:
        await response.aclose()
    try:
        return response.status_code, msgspec.json.decode(bytes(body))
    except msgspec.DecodeError:
        raise Unavailable(f"{who} answers {response.status_code} without JSON") from None


def client(*, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """Create a client that ignores the environment's proxy and `.netrc`: requests go where the settings say."""
    return httpx.AsyncClient(headers=headers, timeout=60, follow_redirects=False, trust_env=False)
