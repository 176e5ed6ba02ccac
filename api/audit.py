"""The audit log, to be searched: every change with who made it and why. What changes something writes it, elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.context import Reader, With
from api.paging import CursorNumber, Paged
from api.parameters import QueryWord, Since, Until
from api.routing import GuardedRoute
from hotswap.domain.auditing import AuditEntry
from hotswap.persistence.platform.audit import AuditFilter
from hotswap.schemas.responses import AuditEventView, AuditPage

router = APIRouter(prefix="/api/v1/audit", tags=["audit"], route_class=GuardedRoute)


@router.get("")
async def list_audit_events(
    _: Reader,
    parts: With,
    paging: Paged,
    target: Annotated[QueryWord, Query(description="a deployment's, model's or version's id")] = None,
    target_type: Annotated[QueryWord, Query(alias="targetType")] = None,
    actor: QueryWord = None,
    action: QueryWord = None,
    trace_id: Annotated[QueryWord, Query(alias="traceId")] = None,
    since: Since = None,
    until: Until = None,
) -> AuditPage:
    """Return the audit events, newest first."""
    wanted = AuditFilter(target, target_type, actor, action, trace_id, since, until)
    found = await parts.audit.events(wanted, paging.window("audit", CursorNumber))
    return AuditPage(items=[_view(row) for row in found.items], next=paging.link("audit", found.next))


def _view(entry: AuditEntry) -> AuditEventView:
    return AuditEventView(
        number=entry.number,
        at=entry.at,
        actor=entry.actor,
        action=entry.action,
        target_type=entry.target_type,
        target=entry.target_id,
        why=entry.reason,
        before=entry.before,
        after=entry.after,
        trace_id=entry.trace_id,
    )
