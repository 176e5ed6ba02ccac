"""Audit events, as every change writes them in its own transaction (who did what to which, and why), and their search.

Nothing is ever changed or deleted there (a trigger sees to it), so a page ends at an event's number and the next one
begins there, whatever has come meanwhile.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import select

from hotswap.domain.auditing import AuditActions, AuditEntry
from hotswap.domain.paging import FIRST, Listing, Window
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.paging import narrowed, page
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.tables import AuditEvent
from hotswap.telemetry import logs

AUDIT_BY = (AuditEvent.id,)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """A filter of events; None matches everything. `since` is included, `until` is not."""

    target: str | None = None
    target_type: str | None = None
    actor: str | None = None
    action: str | None = None
    trace_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class PostgresAudit:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def events(self, wanted: AuditFilter, window: Window = FIRST) -> Listing[AuditEntry]:
        """Return the events, newest first; they are not counted, which would take long."""
        found = narrowed(
            select(AuditEvent),
            (AuditEvent.target_id, wanted.target),
            (AuditEvent.target_type, wanted.target_type),
            (AuditEvent.actor, wanted.actor),
            (AuditEvent.action, wanted.action),
            (AuditEvent.trace_id, wanted.trace_id),
        )
        if wanted.since is not None:
            found = found.where(AuditEvent.at >= wanted.since)
        if wanted.until is not None:
            found = found.where(AuditEvent.at < wanted.until)
        async with self._sessions() as session:
            rows = await page(session, found, AUDIT_BY, window, is_counted=False)
        return Listing(tuple(_entry(row[0]) for row in rows.items), rows.total, rows.next)

    async def vouch(self, deployment_id: str, *, by: str, verb: str, reason: str | None) -> str:
        """Record that somebody with a proven name is about to give this command, and return the key of the record."""
        event = about_deployment(deployment_id, actor=by, action=AuditActions.SAYS.of(verb), reason=reason)
        event.event_key = f"{deployment_id}/{uuid.uuid4()}"
        async with self._sessions.begin() as session:
            session.add(event)
        return event.event_key

    async def record_refusal(self, deployment_id: str, *, by: str, verb: str, message: str) -> None:
        event = about_deployment(deployment_id, actor=by, action=verb, reason=f"{verb} had no effect: {message}")
        async with self._sessions.begin() as session:
            session.add(event)


def _entry(row: AuditEvent) -> AuditEntry:
    return plain(AuditEntry, row, number=row.id, reason=row.why)


def _about(
    target_type: str,
    target_id: str,
    *,
    actor: str,
    action: str,
    reason: str | None = None,
    **change: dict[str, Any] | None,
) -> AuditEvent:
    """Make an event; `change` has the values `before` and `after`, each if there is one.

    `reason` is stored in the column `why`. It defaults to the reason in the header of the request that is served.
    """
    return AuditEvent(
        actor=actor,
        action=action,
        target_type=target_type,
        target_id=target_id,
        why=reason if reason is not None else logs.reason.get(),
        trace_id=logs.trace_id.get(),
        **change,
    )


about_deployment = partial(_about, "deployment")
about_model = partial(_about, "model")
about_version = partial(_about, "version")
about_environment = partial(_about, "environment")
about_token = partial(_about, "token")
about_artifact = partial(_about, "artifact")
about_proxy = partial(_about, "proxy")
about_installation = partial(_about, "installation")
