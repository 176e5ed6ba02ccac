"""The platform itself: who did what, whether its servers answer, and whether they agree."""

from datetime import datetime
from typing import Any

import httpx

from hotswap.client.calls import Call, get, post
from hotswap.client.resources import ClientResource, T, call
from hotswap.schemas.requests import Say
from hotswap.schemas.responses import AuditPage, ReconciliationView

RECONCILIATION = "/api/v1/reconciliation"


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


class Reconciling(ClientResource[T]):
    @call
    def find(self) -> Call[ReconciliationView]:
        """Return what differs between what should be and what is."""
        return get(ReconciliationView, RECONCILIATION)

    @call
    def repair(self, *, reason: str | None = None) -> Call[ReconciliationView]:
        """Have repaired what is safe to repair, and return what differed."""
        return post(ReconciliationView, RECONCILIATION, Say(reason=reason))


class Health(ClientResource[T]):
    @call
    def ready(self) -> Call[dict[str, Any]]:
        """Return whether each server behind the API answers; if one doesn't, that is an answer too and no error."""
        return Call("GET", "/health/ready", _parsed, takes_refusals=True)


def _parsed(answer: httpx.Response) -> dict[str, Any]:
    parsed: dict[str, Any] = answer.json()
    return parsed
