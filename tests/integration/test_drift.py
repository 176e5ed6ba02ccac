"""Drift from the records in PostgreSQL: of a candidate beside its stable, and of what is active."""

import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from hotswap.domain.analysis import JudgeName, Metric, Reading, Source, Subject
from hotswap.domain.application import Desired
from hotswap.domain.errors import Conflict, ModelNotFound, ValidationFailed
from hotswap.domain.recording import RecordFeatures, Recording
from hotswap.domain.vocabulary import ChosenBy, Environment
from hotswap.monitoring.drift import DriftMeter
from hotswap.persistence.deployments.applications import new_row
from hotswap.persistence.monitoring.drift import PostgresDriftRecords
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import ActiveVersion, DesiredApplication, InferenceRequest, ModelVersion
from tests.fixtures.records import GOOD
from tests.fixtures.rows import deployment_of, registered, spec

CHANCE = random.Random(1)
NOW = datetime.now(UTC)
BEGUN = NOW - timedelta(minutes=5)
DRIFT = Metric("drift", Source.DRIFT, JudgeName.THRESHOLD, maximum=0.3, samples=200)
TRAINING = {"amount": {"edges": [-1, 0, 1], "counts": [0.1587, 0.3413, 0.3413, 0.1587]}}


@pytest.fixture
def drift(sessions: Sessions) -> DriftMeter:
    return DriftMeter(PostgresDriftRecords(sessions), clock=NOW.timestamp)


def subject() -> Subject:
    return Subject("dep-b", "Production", "fraud", "app-b", "app-a", "2.0.0", "1.0.0", 1_000, BEGUN.timestamp())


def usual() -> Any:
    return {"amount": CHANCE.gauss(0, 1), "country": CHANCE.choice("abc")}


def larger() -> Any:
    return {"amount": CHANCE.gauss(2, 1), "country": CHANCE.choice("abc")}


async def asked(
    sessions: Sessions,
    application: str,
    features: Callable[[], Any],
    *,
    at: datetime = NOW,
    times: int = 300,
    **changes: Any,
) -> None:
    fields = msgspec.structs.asdict(GOOD)
    named = {"model_name": fields.pop("model"), "is_batch": fields.pop("batch")}
    async with sessions.begin() as session:
        for number in range(times):
            when = at - timedelta(milliseconds=number)
            session.add(
                InferenceRequest(
                    **{
                        **fields,
                        **named,
                        "record_id": secrets.token_hex(8),
                        "application": application,
                        "features": msgspec.json.encode(features()).decode(),
                        "requested_at": when,
                        "completed_at": when,
                        **changes,
                    }
                )
            )


async def versions(sessions: Sessions, reference: dict[str, Any] | None = None) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    async with sessions.begin() as session:
        for row in await session.scalars(ModelVersion.__table__.select().with_only_columns(ModelVersion.version_id)):
            (await session.get_one(ModelVersion, row)).reference_distribution = reference or {}


async def active(sessions: Sessions, version: str = "1.0.0", application: str = "app-a") -> None:
    deployment = await deployment_of(sessions, version)
    async with sessions.begin() as session:
        row = await session.get_one(ModelVersion, await _version_id(sessions, version))
        session.add(
            ActiveVersion(
                model_id=row.model_id,
                environment="Production",
                version_id=row.version_id,
                deployment_id=deployment,
                application=application,
            )
        )


async def _version_id(sessions: Sessions, version: str) -> str:
    async with sessions() as session:
        found = ModelVersion.__table__.select().where(ModelVersion.version == version)
        return str((await session.scalars(found.with_only_columns(ModelVersion.version_id))).one())


def told(reading: Reading) -> tuple[float, float]:
    assert reading.error is None
    assert reading.candidate_value is not None, reading.message
    assert reading.stable_value is not None
    return reading.candidate_value, reading.stable_value


async def test_a_candidate_is_measured_by_its_training(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions, TRAINING)
    await asked(sessions, "app-b", larger)
    await asked(sessions, "app-a", usual)
    candidate, stable = told(await drift.read(DRIFT, subject()))
    assert candidate > 0.3
    assert stable < 0.1


async def test_without_training_the_stables_past_is_the_measure(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions)
    await asked(sessions, "app-a", usual, at=BEGUN - timedelta(hours=1))
    await asked(sessions, "app-b", usual)
    await asked(sessions, "app-a", usual)
    assert max(told(await drift.read(DRIFT, subject()))) < 0.2
    await asked(sessions, "app-b", larger, times=2_000)
    reading = await drift.read(DRIFT, subject())
    assert told(reading)[0] > 0.3
    assert reading.message.startswith("amount is ")


async def test_too_few_values_are_no_distance(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions, TRAINING)
    await asked(sessions, "app-b", larger, times=199)
    reading = await drift.read(DRIFT, subject())
    assert (reading.candidate_value, reading.error) == (None, None)
    assert reading.message == "199 records with features are fewer than 200"


async def test_too_short_a_past_is_no_measure(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions)
    await asked(sessions, "app-b", larger)
    reading = await drift.read(DRIFT, subject())
    assert reading.candidate_value is None
    assert "no training reference" in reading.message


async def test_only_what_the_weight_chose_since_the_step_began_counts(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions, TRAINING)
    await asked(sessions, "app-b", usual)
    await asked(sessions, "app-b", larger, chosen_by=ChosenBy.TESTER)
    await asked(sessions, "app-b", larger, at=BEGUN - timedelta(seconds=1))
    await asked(sessions, "app-b", larger, environment="Staging")
    await asked(sessions, "app-b", lambda: None)
    await asked(sessions, "app-b", lambda: {"amount": "x" * 20_000}, times=250)
    reading = await drift.read(DRIFT, subject())
    assert reading.candidate_value is not None, reading.message
    assert reading.candidate_value < 0.2


async def test_each_instance_of_a_batch_counts(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions, TRAINING)
    await asked(sessions, "app-b", lambda: [larger() for _ in range(100)], times=3, is_batch=True, instances=100)
    reading = await drift.read(DRIFT, subject())
    assert reading.candidate_value is not None, reading.message
    assert reading.candidate_value > 0.3


async def test_a_reference_that_cannot_be_read_is_told(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions, {"amount": {"edges": [2, 1]}})
    await asked(sessions, "app-b", usual)
    with pytest.raises(ValidationFailed, match="must ascend"):
        await drift.read(DRIFT, subject())


async def test_a_report_of_what_is_active_is_kept(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions, TRAINING)
    await active(sessions)
    assert await drift.last("fraud", Environment.PRODUCTION) is None
    few = await drift.report("fraud", Environment.PRODUCTION)
    assert (few.distance, few.is_drifted, few.samples, few.features) == (None, None, 0, {})
    await asked(sessions, "app-a", larger)
    made = await drift.report("fraud", Environment.PRODUCTION)
    assert (made.version, made.is_drifted, made.reference) == ("1.0.0", True, "training")
    assert made.features["amount"]["is_drifted"] is True
    kept = await drift.last("fraud", Environment.PRODUCTION)
    assert kept is not None
    assert (kept.at, kept.distance) == (made.at, made.distance)
    assert await drift.last("fraud", Environment.STAGING) is None


async def test_what_is_not_there_has_no_report(sessions: Sessions, drift: DriftMeter) -> None:
    with pytest.raises(ModelNotFound):
        await drift.report("fraud", Environment.PRODUCTION)
    with pytest.raises(ModelNotFound):
        await drift.last("fraud", Environment.PRODUCTION)
    await versions(sessions)
    with pytest.raises(Conflict, match="nothing of fraud is active in Production"):
        await drift.report("fraud", Environment.PRODUCTION)


async def test_a_field_that_either_version_drops_is_not_compared(sessions: Sessions, drift: DriftMeter) -> None:
    both = {**TRAINING, "country": {"categories": {"a": 1, "b": 1, "c": 1}}}
    await versions(sessions, both)
    await asked(sessions, "app-a", usual)
    await asked(sessions, "app-b", lambda: {"amount": CHANCE.gauss(0, 1)})
    assert told(await drift.read(DRIFT, subject()))[0] > 0.3, "a feature that clients leave out has drifted"
    await desired(sessions, "app-b", Recording(drop_fields=("country",)))
    assert max(told(await drift.read(DRIFT, subject()))) < 0.2


async def test_features_that_are_not_recorded_are_said_to_be_missing(sessions: Sessions, drift: DriftMeter) -> None:
    await versions(sessions, TRAINING)
    await active(sessions)
    await asked(sessions, "app-a", lambda: None)
    await desired(sessions, "app-a", Recording(RecordFeatures.NONE))
    report = await drift.report("fraud", Environment.PRODUCTION)
    assert (report.distance, report.is_drifted) == (None, None)
    assert report.message.endswith("the model's recordFeatures is none")


async def desired(sessions: Sessions, application: str, recording: Recording) -> None:
    async with sessions.begin() as session:
        session.add(DesiredApplication(**new_row(Desired(replace(spec(application), recording=recording), 1, 1))))
