"""The records in which drift is looked for, and the reports of it.

Records are read newest first and boundedly. Requests that chose their arm themselves are not looked at
(docs/decisions/0010).
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.analysis.drift_of_records import Sampled
from hotswap.domain.analysis import Subject
from hotswap.domain.distributions import VALUES
from hotswap.domain.errors import Conflict
from hotswap.domain.vocabulary import ChosenBy, Environment, InferenceStatus
from hotswap.persistence.deployments.applications import recording_of
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.registry.reading import check_model, names
from hotswap.persistence.tables import ActiveVersion, DriftReport, InferenceRequest, Model, ModelVersion

LONGEST = 20_000
"""Characters of a record; longer ones (images, texts, large batches) are left out, as `VALUES` of them must fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRecord:
    """A report on the drift of an active version; `distance` is None where that can't be told."""

    model: str
    version: str
    environment: Environment
    at: datetime
    since: datetime
    reference: str
    samples: int
    distance: float | None
    is_drifted: bool | None
    message: str
    features: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ActiveRecords:
    """The version that is active, and what its records are compared with."""

    model_id: str
    model: str
    version_id: str
    version: str
    sampled: Sampled


class PostgresDriftRecords:
    """The records in which drift is looked for, and its reports; `hotswap/monitoring/drift.py` says what they mean."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def of_arms(self, subject: Subject) -> tuple[Sampled, Sampled]:
        """Return what the candidate and the stable were asked since the step began, beside one measure of both."""
        since = datetime.fromtimestamp(subject.since, UTC)
        async with self._sessions() as session:
            training = await _training(session, subject.model, subject.candidate_version)
            asked = partial(_features, session, subject.model, subject.environment)
            candidate, stable = [await asked(arm, since=since) for arm in (subject.candidate, subject.stable)]
            past = [] if training else await asked(subject.stable, until=since)
            mine, theirs = [await recording_of(session, arm) for arm in (subject.candidate, subject.stable)]
        # Both are compared by the features that both record.
        dropped = tuple({*mine.drop_fields, *theirs.drop_fields})
        return (
            Sampled(candidate, training, past, replace(mine, drop_fields=dropped)),
            Sampled(stable, training, past, replace(theirs, drop_fields=dropped)),
        )

    async def of_active(self, model: str, environment: Environment, *, since: datetime) -> ActiveRecords:
        """Return what the active version was asked. Raises ModelNotFound, and Conflict where nothing is active."""
        async with self._sessions() as session:
            found = (await session.execute(_active(model, environment))).first()
            if found is None:
                await check_model(session, model)
                raise Conflict(f"nothing of {model} is active in {environment}, so nothing can have drifted")
            active, version, name = found
            asked = partial(_features, session, name, environment)
            sampled = Sampled(
                await asked(active.application, since=since),
                version.reference_distribution,
                await asked(active.application, until=since),
                await recording_of(session, active.application),
            )
        return ActiveRecords(version.model_id, name, version.version_id, version.version, sampled)

    async def keep(self, active: ActiveRecords, report: DriftRecord) -> None:
        """Store the report on the active version."""
        row = DriftReport(
            model_id=active.model_id,
            environment=report.environment,
            version_id=active.version_id,
            at=report.at,
            since=report.since,
            reference=report.reference,
            samples=report.samples,
            distance=report.distance,
            is_drifted=report.is_drifted,
            message=report.message,
            features=report.features,
        )
        async with self._sessions.begin() as session:
            session.add(row)

    async def last(self, model: str, environment: Environment) -> DriftRecord | None:
        """Return the last report; None where there is none yet. Raises ModelNotFound."""
        newest = (
            select(DriftReport, Model.name, ModelVersion.version)
            .join(Model, Model.model_id == DriftReport.model_id)
            .join(ModelVersion, ModelVersion.version_id == DriftReport.version_id)
            .where(names(model), DriftReport.environment == environment)
            .order_by(DriftReport.at.desc(), DriftReport.id.desc())
            .limit(1)
        )
        async with self._sessions() as session:
            found = (await session.execute(newest)).first()
            if found is None:
                await check_model(session, model)
                return None
            return plain(DriftRecord, found[0], model=found[1], version=found[2])


async def _training(session: AsyncSession, model: str, version: str) -> dict[str, Any]:
    reference = await session.scalar(
        select(ModelVersion.reference_distribution)
        .join(Model, Model.model_id == ModelVersion.model_id)
        .where(Model.name == model, ModelVersion.version == version)
    )
    return reference or {}


async def _features(
    session: AsyncSession,
    model: str,
    environment: str,
    application: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[str]:
    """Return the instances of the newest records, as JSON lists."""
    wanted = select(InferenceRequest.features, InferenceRequest.is_batch).where(
        InferenceRequest.model_name == model,
        InferenceRequest.environment == environment,
        InferenceRequest.application == application,
        InferenceRequest.chosen_by == ChosenBy.WEIGHT,
        InferenceRequest.status == InferenceStatus.COMPLETED,
        InferenceRequest.features != "null",
        func.length(InferenceRequest.features) <= LONGEST,
    )
    if since is not None:
        wanted = wanted.where(InferenceRequest.requested_at >= since)
    if until is not None:
        wanted = wanted.where(InferenceRequest.requested_at < until)
    newest = wanted.order_by(InferenceRequest.requested_at.desc()).limit(VALUES)
    return [row.features if row.is_batch else f"[{row.features}]" for row in await session.execute(newest)]


def _active(model: str, environment: Environment) -> Any:
    return (
        select(ActiveVersion, ModelVersion, Model.name)
        .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
        .join(Model, Model.model_id == ActiveVersion.model_id)
        .where(names(model), ActiveVersion.environment == environment, ActiveVersion.until.is_(None))
    )
