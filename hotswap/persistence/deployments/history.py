"""The record of one deployment: who did what to it, and the results of its analyses. Reads only.

Every change wrote its event in its own transaction, so this is all that happened, and it can be read while everything
that works on the deployment is down.
"""

import msgspec
from sqlalchemy import select

from hotswap.domain.history import Analysis, Approved, DeploymentEvent, Record
from hotswap.domain.verdict import Verdict
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import AnalysisResult, Approval, AuditEvent


class PostgresHistory:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def record(self, deployment_id: str) -> Record:
        """Return the record of a deployment, which is empty if it doesn't exist."""
        events = select(AuditEvent).where(AuditEvent.target_type == "deployment", AuditEvent.target_id == deployment_id)
        results = select(AnalysisResult).where(AnalysisResult.deployment_id == deployment_id)
        approvals = select(Approval).where(Approval.deployment_id == deployment_id)
        async with self._sessions() as session:
            return Record(
                events=tuple(
                    DeploymentEvent(row.at, row.actor, row.action, row.why, row.before or {}, row.after or {})
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
