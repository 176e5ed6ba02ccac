"""How the client speaks HTTP: one call, one answer, and one kind of error for whatever else came of it."""

import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from hotswap.domain.headers import REASON_HEADER, REQUEST_ID_HEADER
from hotswap.schemas.responses import ProblemView

KEY = "Idempotency-Key"
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""What HTTP lets anybody send twice; a POST too where it has a key."""

ATTEMPTS = 3
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 1.0
BROKEN = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)
"""No connection, or none any more: nobody knows what became of what was sent. A time-out of the answer is not among
them: who waited shall decide."""


@dataclass(slots=True)
class ApiError(Exception):
    """What HotSwap answered instead of what was asked for; `status` is 0 where it didn't answer at all."""

    code: str
    message: str
    details: Sequence[ProblemView] = field(default_factory=tuple)
    status: int = 0
    trace_id: str | None = None
    retry_after: float | None = None
    """In seconds, where the answer says when to come again."""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Transport:
    """A connection to one address, as one caller."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout: float,
        transport: httpx.BaseTransport | None,
        reason: str | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers=[(REASON_HEADER.encode(), " ".join(reason.split()).encode())] if reason else None,
            auth=_authentication(token, url.rstrip("/")) if token else None,
            timeout=timeout,
            transport=transport or httpx.HTTPTransport(retries=1),  # of what was never sent, whatever it is
            trust_env=False,  # a proxy of the environment is not meant for one's own platform, nor is a .netrc
        )

    def close(self) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> httpx.Response:
        """Raises ApiError for every answer that is not a success."""
        answer = self.request(method, path, body=body, query=query, headers=headers, repeatable=repeatable)
        if not answer.is_success:
            raise _error(answer)
        return answer

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> httpx.Response:
        """Ask, and again where the connection broke and that is `repeatable`.

        Absent: what HTTP calls idempotent is, and a POST by a key, which is made where none is given. So neither false,
        of what must not happen twice and heeds no key, nor true, of what may, gets one.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        told = dict(headers or {})
        if repeatable is None:
            if method == "POST":
                told.setdefault(KEY, str(uuid.uuid4()))
            repeatable = method in IDEMPOTENT or KEY in told
        attempts = Retrying(
            retry=retry_if_exception_type(BROKEN),
            stop=stop_after_attempt(ATTEMPTS if repeatable else 1),
            wait=wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            reraise=True,
        )
        try:
            return attempts(self._http.request, method, path, json=body, params=given or None, headers=told)
        except httpx.TimeoutException:
            raise ApiError(
                "TIMEOUT", f"{self._http.base_url} did not answer in time; it may still do what was asked"
            ) from None
        except httpx.HTTPError as error:
            raise ApiError("UNREACHABLE", f"{self._http.base_url} can't be reached: {error}") from error


def _authentication(token: str, url: str) -> httpx.Auth:
    return ServiceToken(token, url) if token.startswith("hst_") else Bearer(token)


class Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class ServiceToken(httpx.Auth):
    """Exchanges a service token for a bearer token, and again shortly before that one's end."""

    requires_response_body = True

    def __init__(self, token: str, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._exchange = httpx.URL(f"{url}/api/v1/authentication/token")
        self._token = token
        self._clock = clock
        self._bearer = ""
        self._good_until = 0.0

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        if self._clock() >= self._good_until:
            asked_at = self._clock()
            answer = yield httpx.Request(
                "POST",
                self._exchange,
                headers={"Authorization": f"Bearer {self._token}"},
                extensions=request.extensions,  # its time-outs
            )
            if not answer.is_success:
                raise _error(answer)
            told = answer.json()
            self._bearer, self._good_until = told["access_token"], asked_at + 0.9 * told["expires_in"]
        request.headers["Authorization"] = f"Bearer {self._bearer}"
        yield request


def _error(answer: httpx.Response) -> ApiError:
    """From the error format; from whatever else a proxy in between may have answered, too."""
    try:
        told = answer.json()["error"]
        return ApiError(
            code=str(told["code"]),
            message=str(told["message"]),
            details=tuple(ProblemView.model_validate(each) for each in told.get("details", ())),
            status=answer.status_code,
            trace_id=told.get("traceId"),
            retry_after=_retry_after(answer),
        )
    except (ValueError, KeyError, TypeError):
        return ApiError(
            code="UNEXPECTED_ANSWER",
            message=f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}: {answer.text[:200]}",
            status=answer.status_code,
            trace_id=answer.headers.get(REQUEST_ID_HEADER),
            retry_after=_retry_after(answer),
        )


def _retry_after(answer: httpx.Response) -> float | None:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() else None
