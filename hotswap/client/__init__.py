"""The Python client of HotSwap: one method per thing one can ask, typed answers, one kind of error.

    with HotSwap("http://127.0.0.1:5000", token) as hotswap:
        hotswap.register_model("fraud-detection", "2.0.0", framework="ONNX", artifact_path="s3://ml-models/...")
        deployment = hotswap.deploy("fraud-detection", version="2.0.0", config={"canaryPercentage": 10})
        for seen in hotswap.follow(deployment.deployment_id):
            print(seen.status, seen.traffic_percentage)

Where a connection breaks, what may be sent twice is (three times at most): readings, and whatever changes something,
for that goes under an idempotency key and is done once. Inference that was sent is not sent again, nor is anything
after a time-out: that is the caller's decision. May be used by several threads at once, all of them the same caller.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from hotswap.client.access import Access
from hotswap.client.artifacts import Artifacts
from hotswap.client.calls import read
from hotswap.client.deployments import Deployments
from hotswap.client.inference import Inference
from hotswap.client.registry import Registry
from hotswap.client.transport import ApiError, Transport
from hotswap.schemas.responses import AuditPage, Page
from hotswap.schemas.responses.base import Item

__all__ = ["ApiError", "HotSwap", "token_of"]


class HotSwap(Access, Registry, Artifacts, Deployments, Inference):
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
        self._transport = Transport(url, token, timeout=timeout, reason=reason, transport=transport)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, *, timeout: float = 30.0) -> Self:
        """At `HOTSWAP_URL`, by the token in `HOTSWAP_TOKEN` or in the file that `HOTSWAP_TOKEN_FILE` names, for the
        reason in `HOTSWAP_REASON`.

        Raises ValueError, naming the variable, where there is no address or the file can't be read.
        """
        url = environment.get("HOTSWAP_URL")
        if not url:
            raise ValueError('HOTSWAP_URL is not set: the address of HotSwap; `eval "$(hotswap env --shell)"` sets it')
        return cls(url, token_of(environment), timeout=timeout, reason=environment.get("HOTSWAP_REASON"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def every(self, listing: Callable[..., Page[Item]], *arguments: Any, **filters: Any) -> Iterator[Item]:
        """All that a list holds, page by page as it is asked for: `every(hotswap.models, framework="ONNX")`."""
        page = listing(*arguments, limit=200, **filters)
        yield from page.items
        while page.next is not None:
            page = listing(*arguments, limit=200, cursor=page.next, **filters)
            yield from page.items

    def audit(
        self,
        *,
        target: str | None = None,
        target_type: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        trace_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> AuditPage:
        """Who did what, newest first; `cursor` is the `next` of the page before. Times have their time zone."""
        query = {
            "target": target,
            "targetType": target_type,
            "actor": actor,
            "action": action,
            "traceId": trace_id,
            "since": since.isoformat() if since is not None else None,
            "until": until.isoformat() if until is not None else None,
            "limit": limit,
            "cursor": cursor,
        }
        return read(AuditPage, self._transport.send("GET", "/api/v1/audit", query=query))

    def readiness(self) -> dict[str, Any]:
        """Whether each server behind the API answers; an answer also where one doesn't."""
        answer: dict[str, Any] = self._transport.request("GET", "/health/ready").json()
        return answer


def token_of(environment: Mapping[str, str]) -> str | None:
    """Raises ValueError where `HOTSWAP_TOKEN_FILE` names a file that can't be read."""
    if (token := environment.get("HOTSWAP_TOKEN")) or not (file := environment.get("HOTSWAP_TOKEN_FILE")):
        return token
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise ValueError(f"HOTSWAP_TOKEN_FILE: can't read {file}: {error.strerror}") from None
