"""Drift from the records: of a candidate while it is judged, and of what is active whenever somebody asks.

The measure is what was registered with the version as its training reference, else what the stable was asked before.
Records are read newest first and boundedly, and compared in a thread. No feature's value is kept, only distances.
Requests that chose their arm themselves are not looked at (docs/decisions/0010). Implements `hotswap.ports.Meter`.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.analysis.drift import ALPHA, FeatureDrift, compare, furthest
from hotswap.analysis.reference import VALUES, Reference, columns, registered, summarised
from hotswap.domain.analysis import Metric, Reading, Subject
from hotswap.domain.errors import Conflict
from hotswap.domain.vocabulary import ChosenBy, Environment, InferenceStatus
from hotswap.persistence.database import Sessions
from hotswap.persistence.queries import check_model, names
from hotswap.persistence.tables import ActiveVersion, DriftReport, InferenceRequest, Model, ModelVersion

WINDOW = timedelta(hours=1)
LEAST = 200
"""Of a report: fewer values make distances by themselves."""

EVIDENCE = 0.01
"""Of a candidate, which is rolled back on it, chance must explain a distance less often than of a report."""

LONGEST = 20_000
"""Characters of a record; longer ones (images, texts, large batches) are left out, as `VALUES` of them must fit."""

TRAINING, PAST = "training", "past"


@dataclass(frozen=True, slots=True)
class Compared:
    """Why nothing could be compared is in `message`; then there are no features."""

    reference: str
    samples: int
    message: str
    distance: float | None = None
    features: Mapping[str, FeatureDrift] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReportRow:
    report: DriftReport
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class _Sampled:
    """Instances of one application, and what they are compared with: a registered reference, else earlier instances."""

    recent: Sequence[str]
    training: Mapping[str, Any]
    past: Sequence[str]


class PostgresDrift:
    def __init__(self, sessions: Sessions, *, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        """The candidate's distance, and the stable's from the same reference: what drifts alike is the world's."""
        since = datetime.fromtimestamp(subject.since, UTC)
        async with self._sessions() as session:
            training = await _training(session, subject.model, subject.candidate_version)
            recent = {
                arm: await _features(session, subject, arm, since=since) for arm in (subject.candidate, subject.stable)
            }
            past = [] if training else await _features(session, subject, subject.stable, until=since)
        candidate, stable = [
            await asyncio.to_thread(
                _compared, _Sampled(recent[arm], training, past), least=metric.samples, alpha=EVIDENCE
            )
            for arm in (subject.candidate, subject.stable)
        ]
        return Reading(
            self._clock(),
            candidate_value=candidate.distance,
            stable_value=stable.distance,
            message=candidate.message,
        )

    async def report(self, model: str, environment: Environment) -> ReportRow:
        """Look at what is active now, over the last hour, and keep what was found.

        Raises ModelNotFound, Conflict where nothing is active, and ValidationFailed for a reference that can't be read.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        since = now - WINDOW
        async with self._sessions() as session:
            found = (await session.execute(_active(model, environment))).first()
            if found is None:
                await check_model(session, model)
                raise Conflict(f"nothing of {model} is active in {environment}, so nothing can have drifted")
            active, version, name = found
            arm = Subject("", environment, name, active.application, "", version.version, "", 0, since.timestamp())
            sampled = _Sampled(
                await _features(session, arm, active.application, since=since),
                version.reference_distribution,
                await _features(session, arm, active.application, until=since),
            )
        compared = await asyncio.to_thread(_compared, sampled, least=LEAST, alpha=ALPHA)
        report = DriftReport(
            model_id=version.model_id,
            environment=environment,
            version_id=version.version_id,
            at=now,
            since=since,
            reference=compared.reference,
            samples=compared.samples,
            distance=compared.distance,
            is_drifted=any(each.is_drifted for each in compared.features.values()) if compared.features else None,
            message=compared.message,
            features={
                each: {**asdict(drift), "distance": drift.distance(), "is_drifted": drift.is_drifted}
                for each, drift in compared.features.items()
            },
        )
        async with self._sessions.begin() as session:
            session.add(report)
        return ReportRow(report, name, version.version)

    async def last(self, model: str, environment: Environment) -> ReportRow | None:
        """Raises ModelNotFound; None where nobody has looked yet."""
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
            return ReportRow(*found)


def _compared(sampled: _Sampled, *, least: int, alpha: float) -> Compared:
    sample = _columns(sampled.recent)
    samples = max(map(len, sample.values()), default=0)
    reference: Mapping[str, Reference]
    if sampled.training:
        source, reference = TRAINING, registered(sampled.training)
    else:
        past = _columns(sampled.past)
        known = max(map(len, past.values()), default=0)
        source, reference = PAST, summarised(past)
        if known < least:
            why = f"no training reference, and {known} records from before are fewer than {least}"
            return Compared(source, samples, why)
    if samples < least:
        return Compared(source, samples, f"{samples} records with features are fewer than {least}")
    features = compare(reference, sample)
    if not features:
        return Compared(source, samples, "no feature in common with the reference")
    name, distance = furthest(features, alpha=alpha)
    message = f"{name} is {distance:.2f} from its {source} reference, the furthest of {len(features)} features"
    return Compared(source, samples, message, distance, features)


def _columns(records: Sequence[str]) -> dict[str, list[Any]]:
    """Of at most `VALUES` instances; a batch's record has a list of them."""
    instances: list[Any] = []
    for record in records:
        with suppress(msgspec.DecodeError, RecursionError):
            instances += msgspec.json.decode(record)
        if len(instances) >= VALUES:
            break
    return columns(instances[:VALUES])


async def _training(session: AsyncSession, model: str, version: str) -> dict[str, Any]:
    reference = await session.scalar(
        select(ModelVersion.reference_distribution)
        .join(Model, Model.model_id == ModelVersion.model_id)
        .where(Model.name == model, ModelVersion.version == version)
    )
    return reference or {}


async def _features(
    session: AsyncSession,
    subject: Subject,
    application: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[str]:
    """The instances of the newest records, as JSON lists."""
    wanted = select(InferenceRequest.features, InferenceRequest.is_batch).where(
        InferenceRequest.model_name == subject.model,
        InferenceRequest.environment == subject.environment,
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
