"""The Python client of HotSwap: one method per thing one can ask, typed answers, one kind of error.

    with HotSwap("http://127.0.0.1:5000", token) as hotswap:
        hotswap.register_model("fraud-detection", "2.0.0", framework="ONNX", artifact_path="s3://ml-models/...")
        deployment = hotswap.deploy("fraud-detection", version="2.0.0", config={"canaryPercentage": 10})
        for seen in hotswap.follow(deployment.deployment_id):
            print(seen.status, seen.traffic_percentage)

A deployment is asked for under an idempotency key, so asking again after a broken connection never starts a second one.
Beyond opening the connection nothing is tried again: whether to is the caller's decision. Not for many threads at once
with different tokens: make one client for each.
"""

from datetime import datetime
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
from hotswap.views import AuditPage

__all__ = ["ApiError", "HotSwap"]


class HotSwap(Access, Registry, Artifacts, Deployments, Inference):
    """`url` is the public address; `timeout` in seconds is for one call, and `transport` is httpx's.

    A service token (`hst_...`) is exchanged for tokens of minutes by itself, as often as it takes.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._transport = Transport(url, token, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

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
