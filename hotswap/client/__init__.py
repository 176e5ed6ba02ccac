"""The Python client of HotSwap: resources as the API has them, typed answers, one kind of error.

    with HotSwap("http://127.0.0.1:5000", token) as hotswap:
        hotswap.models.register(RegisterVersion(name="fraud", version="2.0.0", framework="ONNX", artifact_path=there))
        started = hotswap.deployments.start(CreateDeployment(model_id="fraud", version="2.0.0"))
        for seen in hotswap.deployments.follow(started.deployment_id):
            print(seen.status, seen.traffic_percentage)

`AsyncHotSwap` has the same resources, whose calls are awaited. Both are made from one declaration of each call.

Where a connection breaks, what may be sent twice is (three times at most): readings, and whatever changes something,
for that goes under an idempotency key and is done once. Inference that was sent is not sent again, nor is anything
after a time-out: that is the caller's decision. `HotSwap` may be used by several threads at once, and `AsyncHotSwap` by
several tasks, all of them the same caller.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self

import httpx

from hotswap.client.artifacts import Artifacts
from hotswap.client.deployments import Deployments
from hotswap.client.freezes import Freezes
from hotswap.client.inference import Inference
from hotswap.client.models import Models
from hotswap.client.monitoring import Monitoring
from hotswap.client.platform import Audit, Health, Reconciling
from hotswap.client.proxies import Proxies
from hotswap.client.resources import T
from hotswap.client.tokens import Authentication, Tokens
from hotswap.client.transport import ApiError, AsyncTransport, Transport
from hotswap.client.versions import Versions
from hotswap.schemas.requests import CreateDeployment, CreateToken, RegisterVersion
from hotswap.schemas.responses import Page
from hotswap.schemas.responses.base import Item

__all__ = [
    "ApiError",
    "AsyncHotSwap",
    "CreateDeployment",
    "CreateToken",
    "HotSwap",
    "RegisterVersion",
    "token_of",
]

MOST_IN_A_PAGE = 200


class _Resources(Generic[T]):
    """All that can be asked, over one transport."""

    def __init__(self, transport: T) -> None:
        self._transport = transport
        self.artifacts = Artifacts(transport)
        self.audit = Audit(transport)
        self.authentication = Authentication(transport)
        self.deployments = Deployments(transport)
        self.freezes = Freezes(transport)
        self.health = Health(transport)
        self.inference = Inference(transport)
        self.models = Models(transport)
        self.monitoring = Monitoring(transport)
        self.proxies = Proxies(transport)
        self.reconciliation = Reconciling(transport)
        self.tokens = Tokens(transport)
        self.versions = Versions(transport)


class HotSwap(_Resources[Transport]):
    """`url` is the public address; `timeout` in seconds is for one call, and `transport` is httpx's.

    `reason`, such as the number of a ticket, is put on record with what this client changes; a call's own goes before.

    A service token (`hst_...`) is exchanged for tokens of minutes by itself, as often as it takes.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        reason: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(Transport(url, token, timeout=timeout, reason=reason, transport=transport))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, *, timeout: float = 30.0) -> Self:
        """Return a client for `HOTSWAP_URL`, which gives `HOTSWAP_REASON` as the reason of its calls.

        The token is in `HOTSWAP_TOKEN`, or in the file that `HOTSWAP_TOKEN_FILE` names.

        Raises ValueError, naming the variable, where there is no address or the file can't be read.
        """
        url, token, reason = _told(environment)
        return cls(url, token, timeout=timeout, reason=reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def every(self, listing: Callable[..., Page[Item]], *arguments: Any, **filters: Any) -> Iterator[Item]:
        """Yield all items of a list, page by page when needed: `every(hotswap.models.list, framework="ONNX")`."""
        page = listing(*arguments, limit=MOST_IN_A_PAGE, **filters)
        yield from page.items
        while page.next is not None:
            page = listing(*arguments, limit=MOST_IN_A_PAGE, cursor=page.next, **filters)
            yield from page.items


class AsyncHotSwap(_Resources[AsyncTransport]):
    """The asynchronous twin of `HotSwap`: calls are awaited, and `async for` goes through `follow` and `every`."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        reason: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(AsyncTransport(url, token, timeout=timeout, reason=reason, transport=transport))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, *, timeout: float = 30.0) -> Self:
        """Return a client, from the same variables as `HotSwap.from_environment`."""
        url, token, reason = _told(environment)
        return cls(url, token, timeout=timeout, reason=reason)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    async def every(
        self, listing: Callable[..., Awaitable[Page[Item]]], *arguments: Any, **filters: Any
    ) -> AsyncIterator[Item]:
        """Yield all items of a list, page by page as they are needed."""
        page = await listing(*arguments, limit=MOST_IN_A_PAGE, **filters)
        for item in page.items:
            yield item
        while page.next is not None:
            page = await listing(*arguments, limit=MOST_IN_A_PAGE, cursor=page.next, **filters)
            for item in page.items:
                yield item


def _told(environment: Mapping[str, str]) -> tuple[str, str | None, str | None]:
    """Return the address, the token and the reason. Raises ValueError."""
    url = environment.get("HOTSWAP_URL")
    if not url:
        raise ValueError('HOTSWAP_URL is not set: the address of HotSwap; `eval "$(hotswap env --shell)"` sets it')
    return url, token_of(environment), environment.get("HOTSWAP_REASON")


def token_of(environment: Mapping[str, str]) -> str | None:
    """Return the token. Raises ValueError if `HOTSWAP_TOKEN_FILE` names a file that can't be read."""
    if (token := environment.get("HOTSWAP_TOKEN")) or not (file := environment.get("HOTSWAP_TOKEN_FILE")):
        return token
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise ValueError(f"HOTSWAP_TOKEN_FILE: can't read {file}: {error.strerror}") from None
