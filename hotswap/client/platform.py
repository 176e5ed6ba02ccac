"""The platform itself: who did what, and whether its servers answer."""

from datetime import datetime
from typing import Any

import httpx

from hotswap.client.calls import Call, get
from hotswap.client.resources import ClientResource, T, call
from hotswap.schemas.responses import AuditPage


class Audit(ClientResource[T]):
    @call
    def list(
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
    ) -> Call[AuditPage]:
        """List who did what, newest first. `cursor` is the `next` of the page before; times must have a time zone."""
        query = {
            "target": target,
            "targetType": target_type,
            "actor": actor,
            "action": action,
            "traceId": trace_id,
            "since": since,
            "until": until,
            "limit": limit,
            "cursor": cursor,
        }
        return get(AuditPage, "/api/v1/audit", query)


class Health(ClientResource[T]):
    @call
    def ready(self) -> Call[dict[str, Any]]:
        """Return whether each server behind the API answers; if one doesn't, that is an answer too and no error."""
        return Call("GET", "/health/ready", _parsed, takes_refusals=True)


def _parsed(answer: httpx.Response) -> dict[str, Any]:
    parsed: dict[str, Any] = answer.json()
    return parsed
