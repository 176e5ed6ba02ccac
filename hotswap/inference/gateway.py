"""Inference at the public address, as an application asks for it: by the same routes, with a token of one's own.

So weights, records and whatever else holds for callers holds for what HotSwap asks on their behalf.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from hotswap.domain.errors import AnswerLost, Unavailable
from hotswap.domain.headers import REQUEST_ID_HEADER

ANSWERED_WITHIN = 65.0
"""Seconds; Envoy itself gives up after 60."""
MOST_PREDICTION_BYTES = 16 * 1024**2

_AGAIN = frozenset({401, 403, 408, 429, 503})
"""Statuses that say nothing of the request: the replicas aren't there now, or the token is being changed."""
_LOST = frozenset({502, 504})
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """A prediction, or the error that asking again would only bring again."""

    is_prediction: bool
    body: str


class InferenceGateway:
    def __init__(self, url: str, token_file: Path, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Set up. A proxy of the environment is not meant for one's own platform, but `SSL_CERT_FILE` is."""
        self._token_file = token_file
        transport = transport or httpx.AsyncHTTPTransport()
        self._http = httpx.AsyncClient(base_url=url, timeout=ANSWERED_WITHIN, trust_env=False, transport=transport)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def ask(self, request_id: str, path: str, body: str, headers: Mapping[str, str]) -> GatewayAnswer:
        """Send a POST to a path below `/api/v1/inference`. Raises Unavailable if it should be sent again.

        The error is AnswerLost if a replica may have seen the request: its record tells, once it is written.
        """
        try:
            token = self._token_file.read_text().strip()
            own = {"authorization": f"Bearer {token}", REQUEST_ID_HEADER: request_id}
            answer = await self._http.post(
                f"/api/v1/inference/{path}", content=body.encode(), headers={**headers, **own}
            )
        except _UNSENT as error:
            raise Unavailable(f"the gateway can't be reached: {type(error).__name__}") from None
        except httpx.HTTPError as error:
            raise AnswerLost(f"the gateway does not answer: {type(error).__name__}") from None
        except OSError as error:
            raise Unavailable(f"the token for inference can't be read: {error.strerror}") from None
        if answer.status_code in _LOST:
            raise AnswerLost(f"the gateway answers {answer.status_code}")
        if len(answer.content) > MOST_PREDICTION_BYTES:
            raise AnswerLost(f"the gateway answers more than {MOST_PREDICTION_BYTES} bytes")
        if answer.status_code in _AGAIN:
            raise Unavailable(f"the gateway answers {answer.status_code}")
        return GatewayAnswer(answer.is_success, answer.text)
