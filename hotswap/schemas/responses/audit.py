"""The audit log: who did what to which thing, when and why."""

from datetime import datetime
from typing import Any

from hotswap.schemas.responses.base import View


class AuditEventView(View):
    """A change of `before` to `after`, which are null where there was nothing; `traceId` is its request's."""

    number: int
    at: datetime
    actor: str
    action: str
    target_type: str
    target: str
    why: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    trace_id: str | None


class AuditPage(View):
    """A page of events, newest first. `next` is the `cursor` of the next page, null at the end."""

    items: list[AuditEventView]
    next: str | None
