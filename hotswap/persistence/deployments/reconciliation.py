"""What should be, as the reconciler compares it with what is: implements `hotswap.ports.ReconciliationRecords`.

All of it is read in one snapshot, so a change that commits meanwhile can't make the rows disagree with each other.
"""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditAction
from hotswap.domain.reconciliation import ActiveRow, DesiredRow, RecordedState, UnfinishedDeployment
from hotswap.persistence.deployments.applications import to_desired
from hotswap.persistence.deployments.transitions import STARTING, is_queued
from hotswap.persistence.platform.audit import about_installation
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import ENDED, ActiveVersion, Deployment, DesiredApplication, Model, ModelVersion
from hotswap.persistence.traffic.plans import plan_now

INSTALLATION = "hotswap"
"""The audit log's name for all of what a database holds."""


class PostgresReconciliationRecords:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def recorded(self) -> RecordedState:
        async with self._sessions() as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            return RecordedState(
                plan=await plan_now(session),
                unfinished=await _unfinished(session),
                applications=await _applications(session),
                active=await _active(session),
            )

    async def note_repair(self, *, by: str, reason: str | None, findings: list[dict[str, Any]]) -> None:
        event = about_installation(
            INSTALLATION, actor=by, action=AuditAction.RECONCILE, reason=reason, before={"findings": findings}
        )
        async with self._sessions.begin() as session:
            session.add(event)


async def _unfinished(session: AsyncSession) -> tuple[UnfinishedDeployment, ...]:
    rows = await session.execute(
        select(
            Deployment.deployment_id,
            Deployment.environment,
            Model.name.label("model"),
            Deployment.status,
            is_queued().label("is_queued"),
            (Deployment.started_at >= func.now() - STARTING).label("is_young"),
        )
        .join(Model, Model.model_id == Deployment.model_id)
        .where(Deployment.status.not_in(ENDED))
        .order_by(Deployment.started_at, Deployment.deployment_id)
    )
    return tuple(
        UnfinishedDeployment(
            row.deployment_id,
            row.environment,
            row.model,
            row.status,
            is_queued=row.is_queued,
            is_starting=row.is_young,
        )
        for row in rows
    )


async def _applications(session: AsyncSession) -> tuple[DesiredRow, ...]:
    rows = await session.scalars(select(DesiredApplication).order_by(DesiredApplication.name))
    return tuple(DesiredRow(to_desired(row), row.set_aside_reason) for row in rows)


async def _active(session: AsyncSession) -> tuple[ActiveRow, ...]:
    rows = await session.execute(
        select(ActiveVersion.environment, Model.name, ModelVersion.version, ActiveVersion.application)
        .join(Model, Model.model_id == ActiveVersion.model_id)
        .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
        .where(ActiveVersion.until.is_(None))
        .order_by(ActiveVersion.environment, Model.name)
    )
    return tuple(ActiveRow(*row) for row in rows)
