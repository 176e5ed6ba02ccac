"""What is on record of one deployment: who did what to it, and what its analyses came to. Reads only.

Every change wrote its event in its own transaction, so this is all that happened, and it can be read while everything
that works on the deployment is down.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import select

from hotswap.domain.verdict import Verdict
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import AnalysisResult, Approval, AuditEvent


@dataclass(frozen=True, slots=True)
class Event:
    """An audit event of the deployment."""

    at: datetime
    actor: str
    action: str
    why: str | None
    before: dict[str, Any]
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Analysis:
    """One analysis of one step (its position) with its newest verdict; `begun_at` is Unix time, `weight` hundredths."""

    step: int
    begun_at: float
    weight: int
    judged_at: datetime
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Approved:
    """`step` counts from 1, and 0 is the start; a claimed name is one that nobody checked."""

    step: int
    by: str
    is_claimed: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """Each in the order in which it happened."""

    events: tuple[Event, ...]
    analyses: tuple[Analysis, ...]
    approvals: tuple[Approved, ...]


class PostgresHistory:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def record(self, deployment_id: str) -> Record:
        """Empty for a deployment that isn't there."""
        events = select(AuditEvent).where(AuditEvent.target_type == "deployment", AuditEvent.target_id == deployment_id)
        results = select(AnalysisResult).where(AnalysisResult.deployment_id == deployment_id)
        approvals = select(Approval).where(Approval.deployment_id == deployment_id)
        async with self._sessions() as session:
            return Record(
                events=tuple(
                    Event(row.at, row.actor, row.action, row.why, row.before or {}, row.after or {})
                    for row in await session.scalars(events.order_by(AuditEvent.at, AuditEvent.id))
                ),
                analyses=tuple(
                    Analysis(row.step, row.begun_at, row.weight, row.judged_at, msgspec.convert(row.verdict, Verdict))
                    for row in await session.scalars(results.order_by(AnalysisResult.begun_at))
                ),
                approvals=tuple(
                    Approved(row.step, row.approved_by, row.is_claimed, row.approved_at)
                    for row in await session.scalars(approvals.order_by(Approval.approved_at))
                ),
            )
