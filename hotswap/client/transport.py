"""The client's HTTP transports, synchronous and asynchronous.

A call has one answer, or raises one kind of error.
"""

import threading
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import httpx
from pydantic import ValidationError
from tenacity import AsyncRetrying, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from hotswap.client.calls import Call, CallPause, CallStep, Found, Steps, Stream, Work, kind_of
from hotswap.domain.headers import REASON_HEADER, REQUEST_ID_HEADER
from hotswap.schemas.problems import refusal
from hotswap.schemas.responses import AccessTokenView, ProblemView

A = TypeVar("A")

KEY = "Idempotency-Key"
IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
"""Methods that HTTP lets anybody send twice; so is a POST with a key."""

ATTEMPTS = 3
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 1.0
BROKEN = (httpx.NetworkError, httpx.ConnectTimeout, httpx.RemoteProtocolError)
"""No connection, or none any more: nobody knows what became of what was sent. A time-out of the answer is not among
them: who waited shall decide."""


@dataclass(slots=True)
class ApiError(Exception):
    """An answer of HotSwap that is not the one asked for; `status` is 0 if it didn't answer at all."""

    code: str
    message: str
    details: Sequence[ProblemView] = field(default_factory=tuple)
    status: int = 0
    trace_id: str | None = None
    retry_after: float | None = None
    """The seconds after which the answer allows another try."""

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def refused(error: ValidationError) -> ApiError:
    """Return what pydantic refuses as the API would have told it, with status 0: nothing was sent."""
    found = refusal(error.errors(include_url=False))
    details = tuple(ProblemView(field=each.field, message=each.message) for each in found.details)
    return ApiError(found.code, found.message, details)


class Transport:
    """A connection to one address, as one caller. Each of its calls returns when it is answered."""

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
            transport=transport or httpx.HTTPTransport(retries=1),  # of what was never sent, whatever it is
            **_settings(url, token, timeout=timeout, reason=reason),
        )

    def close(self) -> None:
        self._http.close()

    def answer(self, call: Call[A]) -> A:
        """Send the call, and return its answer. Raises ApiError for every answer that is not a success."""
        with _told_as_one_kind(self._http.base_url):
            return _read(call, Retrying(**_retries(call))(self._http.request, **_request(call)))

    def carry_out(self, steps: Steps[A]) -> A:
        """Take all steps, one after the other, and return their end."""
        (end,) = self.stream(_to_the_end(steps))
        return end

    def stream(self, stream: Stream[A]) -> Iterator[A]:
        """Take the steps as far as somebody wants what they find."""
        outcome: Any = None
        while (step := _next(stream, outcome)) is not None:
            outcome = None
            if isinstance(step, Found):
                yield step.value
            else:
                outcome = self._outcome(step)

    def _outcome(self, step: CallStep) -> "Any | ApiError":
        try:
            match step:
                case Call():
                    return self.answer(step)
                case CallPause(seconds=seconds):
                    time.sleep(seconds)
                case Work(run=run):
                    return run()
        except ApiError as error:
            return error
        return None


class AsyncTransport:
    """The same, whose calls are awaited."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None,
        reason: str | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            transport=transport or httpx.AsyncHTTPTransport(retries=1),
            **_settings(url, token, timeout=timeout, reason=reason),
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def answer(self, call: Call[A]) -> A:
        """Send the call, and return its answer. Raises ApiError for every answer that is not a success."""
        with _told_as_one_kind(self._http.base_url):
            return _read(call, await AsyncRetrying(**_retries(call))(self._http.request, **_request(call)))

    async def carry_out(self, steps: Steps[A]) -> A:
        """Take all steps, one after the other, and return their end."""
        (end,) = [found async for found in self.stream(_to_the_end(steps))]
        return end

    async def stream(self, stream: Stream[A]) -> AsyncIterator[A]:
        """Take the steps as far as somebody wants what they find."""
        outcome: Any = None
        while (step := _next(stream, outcome)) is not None:
            outcome = None
            if isinstance(step, Found):
                yield step.value
            else:
                outcome = await self._outcome(step)

    async def _outcome(self, step: CallStep) -> "Any | ApiError":
        try:
            match step:
                case Call():
                    return await self.answer(step)
                case CallPause(seconds=seconds):
                    await anyio.sleep(seconds)
                case Work(run=run):
                    return await anyio.to_thread.run_sync(run)
        except ApiError as error:
            return error
        return None


def _to_the_end(steps: Steps[A]) -> Stream[A]:
    """Return the same steps, which find nothing but their end."""
    yield Found((yield from steps))


def _next(stream: Stream[A], outcome: "Any | ApiError") -> CallStep | Found[A] | None:
    """Return what follows upon the outcome of the step before, None after the last. Raises ApiError."""
    try:
        return stream.throw(outcome) if isinstance(outcome, ApiError) else stream.send(outcome)
    except StopIteration:
        return None
    except ValidationError as error:
        raise refused(error) from None


def _settings(url: str, token: str | None, *, timeout: float, reason: str | None) -> dict[str, Any]:
    base = url.rstrip("/")
    return {
        "base_url": base,
        "headers": [(REASON_HEADER.encode(), " ".join(reason.split()).encode())] if reason else None,
        "auth": _authentication(token, base) if token else None,
        "timeout": timeout,
        "trust_env": False,  # a proxy of the environment is not meant for one's own platform, nor is a .netrc
    }


def _request(call: Call[Any]) -> dict[str, Any]:
    """Return what httpx is told. All attempts of one call have the same key."""
    headers = dict(call.headers)
    if call.repeatable is None and call.method == "POST":
        headers.setdefault(KEY, str(uuid.uuid4()))
    return {
        "method": call.method,
        "url": call.path,
        "json": call.body,
        "params": dict(call.query) or None,
        "headers": headers,
    }


def _retries(call: Call[Any]) -> dict[str, Any]:
    repeatable = call.repeatable
    if repeatable is None:
        repeatable = call.method in IDEMPOTENT or call.method == "POST"
    return {
        "retry": retry_if_exception_type(BROKEN),
        "stop": stop_after_attempt(ATTEMPTS if repeatable else 1),
        "wait": wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
        "reraise": True,
    }


def _read(call: Call[A], answer: httpx.Response) -> A:
    if not (answer.is_success or call.takes_refusals):
        raise _error(answer)
    try:
        return call.read(answer)
    except ValidationError as error:  # of a server that is newer or none of ours
        raise _unexpected(answer, f"what can't be read: {error}") from error


def _unexpected(answer: httpx.Response, told: str) -> ApiError:
    return ApiError(
        code="UNEXPECTED_ANSWER",
        message=f"{answer.request.url} answered {answer.status_code} {answer.reason_phrase}: {told[:200]}",
        status=answer.status_code,
        trace_id=answer.headers.get(REQUEST_ID_HEADER),
        retry_after=_retry_after(answer),
    )


@contextmanager
def _told_as_one_kind(address: httpx.URL) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException:
        raise ApiError("TIMEOUT", f"{address} did not answer in time; it may still do what was asked") from None
    except httpx.HTTPError as error:
        raise ApiError("UNREACHABLE", f"{address} can't be reached: {error}") from error


def _authentication(token: str, url: str) -> httpx.Auth:
    return ServiceToken(token, url) if token.startswith("hst_") else Bearer(token)


class Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


TOO_LONG = "another call's exchange of the service token takes too long"


class ServiceToken(httpx.Auth):
    """Exchanges a service token for a bearer token, and again shortly before that one's end.

    Calls that begin meanwhile wait for it, no longer than each waits for an answer.
    """

    def __init__(self, token: str, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._exchange = Call("POST", f"{url}/api/v1/authentication/token", kind_of(AccessTokenView))
        self._token = token
        self._clock = clock
        self._bearer = ""
        self._good_until = 0.0
        self._lock, self._async_lock = threading.Lock(), anyio.Lock()

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
        if self._is_over():
            patience = _patience(request)
            if not self._lock.acquire(timeout=-1 if patience is None else patience):
                raise httpx.ReadTimeout(TOO_LONG)
            try:
                if self._is_over():
                    asked_at = self._clock()
                    answer = yield self._asked(request)
                    answer.read()
                    self._take(answer, asked_at)
            finally:
                self._lock.release()
        yield self._signed(request)

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if self._is_over():
            try:
                with anyio.fail_after(_patience(request)):
                    await self._async_lock.acquire()
            except TimeoutError:
                raise httpx.ReadTimeout(TOO_LONG) from None
            try:
                if self._is_over():
                    asked_at = self._clock()
                    answer = yield self._asked(request)
                    await answer.aread()
                    self._take(answer, asked_at)
            finally:
                self._async_lock.release()
        yield self._signed(request)

    def _is_over(self) -> bool:
        return self._clock() >= self._good_until

    def _asked(self, request: httpx.Request) -> httpx.Request:
        return httpx.Request(
            self._exchange.method,
            self._exchange.path,
            headers={"Authorization": f"Bearer {self._token}"},
            extensions=request.extensions,  # its time-outs
        )

    def _take(self, answer: httpx.Response, asked_at: float) -> None:
        """Take the bearer token out of the answer. Raises ApiError."""
        told = _read(self._exchange, answer)
        self._bearer, self._good_until = told.access_token, asked_at + 0.9 * told.expires_in

    def _signed(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {self._bearer}"
        return request


def _patience(request: httpx.Request) -> float | None:
    """Return for how many seconds this call waits for an answer."""
    seconds: float | None = request.extensions["timeout"]["read"]
    return seconds


def _error(answer: httpx.Response) -> ApiError:
    """Return the error in the error format, or one made of whatever else a proxy in between answered."""
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
        return _unexpected(answer, answer.text)


def _retry_after(answer: httpx.Response) -> float | None:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() else None
