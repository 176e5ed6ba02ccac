"""Alerts about active versions, on record until they are over. Implements `hotswap.ports.Alerts`.

One alert of a kind is open for an application at a time, so that another check finds it and nobody is told twice.
"""

import secrets
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditAction, AuditActions
from hotswap.domain.monitoring import MONITOR, Active, Alert, AlertKind, Finding
from hotswap.domain.paging import FIRST, Listing, Window
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.platform.audit import about_model
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.paging import page
from hotswap.persistence.registry.reading import names
from hotswap.persistence.tables import ActiveVersion, AlertRow, Deployment, Model, ModelVersion
from hotswap.persistence.traffic.plans import is_routed

ALERTS_BY = (AlertRow.at, AlertRow.alert_id)


class PostgresAlerts:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def open(self, active: Active, finding: Finding, *, rolls_back: bool) -> None:
        row: dict[str, Any] = {
            "kind": finding.kind,
            "model_id": active.model_id,
            "environment": active.environment,
            "version_id": active.version_id,
            "deployment_id": active.deployment_id,
            "application": active.application,
            "since": finding.since,
            "message": finding.message,
            "numbers": finding.numbers,
            "rolls_back": rolls_back,
        }
        async with self._sessions.begin() as session:
            await _open(session, row, version=active.version, actor=MONITOR)

    async def open_of(self, deployment_id: str, kind: AlertKind, message: str) -> None:
        async with self._sessions.begin() as session:
            deployment = await session.get_one(Deployment, deployment_id)
            version = await session.get_one(ModelVersion, deployment.version_id)
            row: dict[str, Any] = {
                "kind": kind,
                "model_id": deployment.model_id,
                "environment": deployment.environment,
                "version_id": deployment.version_id,
                "deployment_id": deployment_id,
                "application": deployment.application,
                "since": deployment.verified_at or func.now(),
                "message": message,
                "numbers": {},
                "rolls_back": False,
            }
            await _open(session, row, version=version.version, actor="hotswap")

    async def resolve(self, alert_id: str, message: str) -> None:
        async with self._sessions.begin() as session:
            model_id = await session.scalar(
                update(AlertRow)
                .where(AlertRow.alert_id == alert_id, AlertRow.resolved_at.is_(None))
                .values(resolved_at=func.now(), resolution=message)
                .returning(AlertRow.model_id)
            )
            if model_id is not None:
                session.add(
                    about_model(
                        model_id,
                        actor=MONITOR,
                        action=AuditAction.ALERT_RESOLVED,
                        reason=message,
                        after={"alert": alert_id},
                    )
                )

    async def page(
        self, *, model: str | None, environment: Environment | None, is_open: bool | None, window: Window = FIRST
    ) -> Listing[Alert]:
        """Return a page of alerts, newest first."""
        wanted = _ALERTS.order_by(None)
        if model is not None:
            wanted = wanted.where(names(model))
        if environment is not None:
            wanted = wanted.where(AlertRow.environment == environment)
        if is_open is not None:
            wanted = wanted.where(AlertRow.resolved_at.is_(None) if is_open else AlertRow.resolved_at.is_not(None))
        async with self._sessions() as session:
            found = await page(session, wanted, ALERTS_BY, window)
        return Listing(tuple(_alert(row[0], row[1], row[2]) for row in found.items), found.total, found.next)

    async def opened(self) -> list[Alert]:
        return await self._listed(_ALERTS.where(AlertRow.resolved_at.is_(None)))

    async def of_what_serves_no_more(self) -> list[Alert]:
        serves = (
            select(ActiveVersion.id)
            .where(ActiveVersion.application == AlertRow.application, ActiveVersion.until.is_(None))
            .exists()
        )
        return await self._listed(
            _ALERTS.where(AlertRow.resolved_at.is_(None), ~serves, ~is_routed(AlertRow.application))
        )

    async def untold(self) -> list[Alert]:
        return await self._listed(_ALERTS.where(AlertRow.told_at.is_(None)))

    async def told(self, alert_id: str) -> None:
        async with self._sessions.begin() as session:
            await session.execute(
                update(AlertRow)
                .where(AlertRow.alert_id == alert_id, AlertRow.told_at.is_(None))
                .values(told_at=func.now())
            )

    async def rolled_back_by(self, alert_id: str, deployment_id: str) -> None:
        async with self._sessions.begin() as session:
            await session.execute(
                update(AlertRow).where(AlertRow.alert_id == alert_id).values(rollback_id=deployment_id)
            )

    async def _listed(self, wanted: Select[AlertRow, str, str]) -> list[Alert]:
        async with self._sessions() as session:
            return [_alert(*row) for row in await session.execute(wanted)]


async def _open(session: AsyncSession, row: dict[str, Any], *, version: str, actor: str) -> None:
    """Write the alert and its audit event, unless one of that kind is open for that application."""
    opened = await session.scalar(
        insert(AlertRow)
        .values(alert_id=f"alr-{secrets.token_hex(6)}", **row)
        .on_conflict_do_nothing(index_elements=["application", "kind"], index_where=AlertRow.resolved_at.is_(None))
        .returning(AlertRow.alert_id)
    )
    if opened is not None:
        session.add(
            about_model(
                row["model_id"],
                actor=actor,
                action=AuditActions.ALERT.of(row["kind"]),
                reason=row["message"],
                after={"alert": opened, "version": version, "environment": row["environment"]},
            )
        )


_ALERTS = (
    select(AlertRow, Model.name, ModelVersion.version)
    .join(Model, Model.model_id == AlertRow.model_id)
    .join(ModelVersion, ModelVersion.version_id == AlertRow.version_id)
    .order_by(AlertRow.at.desc(), AlertRow.alert_id)
)


def _alert(row: AlertRow, model: str, version: str) -> Alert:
    return Alert(
        alert_id=row.alert_id,
        kind=row.kind,
        model=model,
        environment=row.environment,
        version=version,
        deployment_id=row.deployment_id,
        at=row.at,
        since=row.since,
        message=row.message,
        numbers=row.numbers,
        rolls_back=row.rolls_back,
        rollback_id=row.rollback_id,
        resolved_at=row.resolved_at,
        resolution=row.resolution,
    )
