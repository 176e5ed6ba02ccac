"""How active versions do, by their outcomes and by what they are asked. Implements `hotswap.ports.Monitor`.

An hour of outcomes is looked at by the minute and what was before by the hour, so that a look is a few hundred rows,
whatever the traffic.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Row, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from hotswap.analysis.degradation import Bucket, degradation, has_recovered
from hotswap.analysis.quality import Tally
from hotswap.domain.errors import Conflict
from hotswap.domain.monitoring import Active, Alert, AlertKind, Finding
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.messages import MonitoringConfig
from hotswap.persistence.database import Sessions
from hotswap.persistence.drift import PostgresDrift
from hotswap.persistence.rollups import HOUR, MINUTE
from hotswap.persistence.tables import ActiveVersion, Deployment, Model, ModelVersion, OutcomeRollup

MINUTES, HOURS = timedelta(hours=1), timedelta(days=1)
"""How far back a drop may have begun, by the minute and by the hour."""

PAST = timedelta(days=30)
"""What it is compared with: no further back than this."""

LATELY = timedelta(minutes=15)
"""Over this long it must do well again for an alert to be over."""


class PostgresMonitor:
    def __init__(self, sessions: Sessions, drift: PostgresDrift, *, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._drift = drift
        self._clock = clock

    async def active(self) -> list[Active]:
        async with self._sessions() as session:
            return [_active(row) for row in await session.execute(_ACTIVE)]

    async def degradation(self, active: Active) -> Finding | None:
        now = self._clock()
        first_minute, past = _floor(now - MINUTES.total_seconds(), HOUR), now - PAST.total_seconds()
        async with self._sessions() as session:
            history = await _history(session, active.application, since=past, minutes=first_minute)
            predecessor = None
            if (before := active.application_before) is not None and before != active.application:
                its = await _history(session, before, since=past, minutes=first_minute)
                predecessor = (f"version {active.version_before}", _sum(its))
        begins = [
            *range(_floor(now - HOURS.total_seconds(), HOUR), first_minute, HOUR),
            *range(first_minute, _floor(now, MINUTE) + 1, MINUTE),
        ]
        found = await asyncio.to_thread(
            degradation, history, begins=begins, predecessor=predecessor, policy=active.policy
        )
        if found is None:
            return None
        return Finding(
            AlertKind.ACCURACY,
            datetime.fromtimestamp(found.since, UTC),
            found.message,
            {
                "recent": found.recent,
                "before": found.before,
                "limit": found.limit,
                "samples": float(found.samples),
                "isError": float(found.is_error),
            },
        )

    async def drift(self, active: Active) -> Finding | bool:
        """What has drifted; else whether it can be told at all that nothing has."""
        try:
            row = await self._drift.report(active.model, active.environment)
        except Conflict:  # it was replaced this moment
            return False
        report = row.report
        if not report.is_drifted:
            return report.is_drifted is not None
        numbers = {"samples": float(report.samples)}
        if report.distance is not None:
            numbers["distance"] = report.distance
        return Finding(AlertKind.DRIFT, report.since, report.message, numbers)

    async def has_recovered(self, active: Active, alert: Alert) -> bool:
        """Whether outcomes lately are what they were before the alert."""
        now = self._clock()
        async with self._sessions() as session:
            lately = await _history(session, active.application, since=now, minutes=now - LATELY.total_seconds())
        return has_recovered(
            _sum(lately),
            limit=alert.numbers["limit"],
            is_error=bool(alert.numbers["isError"]),
            samples=active.policy.samples,
        )


_before = aliased(ActiveVersion)
_version_before = aliased(ModelVersion)

_ACTIVE = (
    select(
        Model,
        ModelVersion.version_id,
        ModelVersion.version,
        ActiveVersion,
        Deployment.kind,
        _version_before.version.label("version_before"),
        _before.application.label("application_before"),
    )
    .select_from(ActiveVersion)
    .join(Model, Model.model_id == ActiveVersion.model_id)
    .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
    .join(Deployment, Deployment.deployment_id == ActiveVersion.deployment_id)
    .outerjoin(
        _before,
        and_(
            _before.model_id == ActiveVersion.model_id,
            _before.environment == ActiveVersion.environment,
            _before.until == ActiveVersion.since,
            _before.id < ActiveVersion.id,
        ),
    )
    .outerjoin(_version_before, _version_before.version_id == _before.version_id)
    .where(ActiveVersion.until.is_(None))
    .order_by(ActiveVersion.id)
)


def _active(row: Row[Model, str, str, ActiveVersion, str, str | None, str | None]) -> Active:
    model, version_id, version, active, kind, version_before, application_before = row
    return Active(
        model_id=model.model_id,
        model=model.name,
        environment=Environment(active.environment),
        version_id=version_id,
        version=version,
        application=active.application,
        deployment_id=active.deployment_id,
        kind=DeploymentKind(kind),
        since=active.since,
        policy=MonitoringConfig.model_validate(model.monitoring).policy(),
        version_before=version_before,
        application_before=application_before,
    )


async def _history(session: AsyncSession, application: str, *, since: float, minutes: float) -> list[Bucket]:
    """By the hour from `since` until `minutes`, and from there on by the minute (Unix time, seconds)."""
    from_there = datetime.fromtimestamp(minutes, UTC)
    wanted = (
        select(
            OutcomeRollup.at,
            OutcomeRollup.labels,
            OutcomeRollup.correct,
            OutcomeRollup.numbers,
            OutcomeRollup.absolute,
            OutcomeRollup.squared,
        )
        .where(
            OutcomeRollup.application == application,
            or_(
                and_(
                    OutcomeRollup.width_seconds == HOUR,
                    OutcomeRollup.at >= datetime.fromtimestamp(since, UTC),
                    OutcomeRollup.at < from_there,
                ),
                and_(OutcomeRollup.width_seconds == MINUTE, OutcomeRollup.at >= from_there),
            ),
        )
        .order_by(OutcomeRollup.at)
    )
    return [
        Bucket(at.timestamp(), Tally(labels, correct, numbers, absolute, squared))
        for at, labels, correct, numbers, absolute, squared in await session.execute(wanted)
    ]


def _sum(history: list[Bucket]) -> Tally:
    total = Tally()
    for bucket in history:
        total.merge(bucket.tally)
    return total


def _floor(at: float, width: int) -> int:
    return int(at // width) * width
