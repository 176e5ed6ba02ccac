"""Active versions, and the outcomes of their predictions.

Outcomes are read from their roll-ups, the last hour by the minute and what was before by the hour, so that they are a
few hundred rows, whatever the traffic.
"""

from datetime import UTC, datetime

from sqlalchemy import Row, and_, or_, select
from sqlalchemy.orm import aliased

from hotswap.analysis.degradation import Bucket
from hotswap.analysis.quality import OutcomeTally
from hotswap.domain.monitoring import Active
from hotswap.domain.vocabulary import DeploymentKind
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.records.rollups import HOUR, MINUTE
from hotswap.persistence.tables import ActiveVersion, Deployment, Model, ModelVersion, OutcomeRollup
from hotswap.schemas.monitoring import MonitoringConfig


class PostgresMonitorData:
    """Records of active versions; `hotswap/monitoring/monitor.py` interprets them."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def active(self) -> list[Active]:
        async with self._sessions() as session:
            return [_active(row) for row in await session.execute(_ACTIVE)]

    async def history(self, application: str, *, since: float, minutes: float) -> list[Bucket]:
        """Return an application's outcomes, by the hour from `since` until `minutes`, from there on by the minute.

        Both are Unix time in seconds.
        """
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
        async with self._sessions() as session:
            return [
                Bucket(at.timestamp(), OutcomeTally(labels, correct, numbers, absolute, squared))
                for at, labels, correct, numbers, absolute, squared in await session.execute(wanted)
            ]


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


def _active(row: Row[Model, str, str, ActiveVersion, DeploymentKind, str | None, str | None]) -> Active:
    model, version_id, version, active, kind, version_before, application_before = row
    return Active(
        model_id=model.model_id,
        model=model.name,
        environment=active.environment,
        version_id=version_id,
        version=version,
        application=active.application,
        deployment_id=active.deployment_id,
        kind=kind,
        since=active.since,
        policy=MonitoringConfig.model_validate(model.monitoring).policy(),
        version_before=version_before,
        application_before=application_before,
    )
