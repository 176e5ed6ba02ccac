"""The audit log, to be searched: every change with who made it and why. What changes something writes it, elsewhere."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from api.auth import GuardedRoute
from api.context import Reader, With
from api.schemas import Limit
from hotswap.persistence.audit import Wanted
from hotswap.persistence.tables import AuditEvent
from hotswap.views import AuditEventView, AuditPage

router = APIRouter(prefix="/api/v1/audit", tags=["audit"], route_class=GuardedRoute)

Word = Annotated[str | None, Query(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


@router.get("")
async def list_audit_events(
    _: Reader,
    parts: With,
    target: Annotated[
        str | None,
        Query(max_length=255, pattern=r"^[^\x00]*$", description="a deployment's, model's or version's id"),
    ] = None,
    target_type: Annotated[Word, Query(alias="targetType")] = None,
    actor: Word = None,
    action: Word = None,
    trace_id: Annotated[Word, Query(alias="traceId")] = None,
    since: Annotated[AwareDatetime | None, Query(description="with its time zone; included")] = None,
    until: Annotated[AwareDatetime | None, Query(description="with its time zone; not included")] = None,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="`next` of the page before")] = None,
) -> AuditPage:
    """Newest first."""
    wanted = Wanted(target, target_type, actor, action, trace_id, since, until)
    # One more than is shown says whether there is a next page.
    found = await parts.audit.events(wanted, limit=limit + 1, before=int(cursor) if cursor is not None else None)
    shown = found[:limit]
    return AuditPage(items=[_view(row) for row in shown], next=str(shown[-1].id) if len(found) > limit else None)


def _view(row: AuditEvent) -> AuditEventView:
    return AuditEventView(
        number=row.id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        target_type=row.target_type,
        target=row.target_id,
        why=row.why,
        before=row.before,
        after=row.after,
        trace_id=row.trace_id,
    )
