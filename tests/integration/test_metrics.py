"""A model's figures: what is recorded and counted, rolled up once, kept for its time, and asked for over the API."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from hotswap.domain.traffic import Counts, ProxyReport
from hotswap.domain.vocabulary import ArmName, Environment, InferenceStatus, Role
from hotswap.persistence import recorder
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.records.matcher import Matcher
from hotswap.persistence.records.measures import Measures, PostgresMeasures
from hotswap.persistence.records.outcomes import PostgresOutcomes, Reported
from hotswap.persistence.records.retention import let_go
from hotswap.persistence.traffic import proxy_counts
from hotswap.settings import RetentionSettings
from tests.fixtures.records import encoded, record
from tests.integration.api_world import ApiWorld

NOW = datetime.now(UTC)


@pytest.fixture
async def database(sessions: Sessions, postgres_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    url = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield connection


def ago(record_id: str, age: timedelta = timedelta(), **changes: Any) -> bytes:
    return encoded(record_id, requested_at=(NOW - age).timestamp(), **changes)


def just_now(record_id: str, **changes: Any) -> bytes:
    """For the API, whose clock is its own: when this file was imported may be long ago."""
    return encoded(record_id, requested_at=datetime.now(UTC).timestamp(), **changes)


async def measured(sessions: Sessions, span: timedelta, **of: Any) -> Measures:
    """By default of the model that the records are of."""
    wanted = {"version": None, "now": NOW} | of
    window = await PostgresMeasures(sessions, RetentionSettings()).window(
        "fraud", Environment.PRODUCTION, span=span, **wanted
    )
    return window.measures


async def test_a_repeated_batch_counts_once_and_every_kind_of_end_by_itself(
    sessions: Sessions, database: psycopg.AsyncConnection[Any]
) -> None:
    failed, refused = "INFERENCE_ERROR: it broke", "SCHEMA_VALIDATION_ERROR: x"
    batch = [
        ago("good", prediction="2", confidence=0.5, latency_ms=10.0),
        ago("text", prediction='"cat"', confidence=0.7, latency_ms=20.0),
        ago("many", prediction="[4, 6, true, null]", batch=True, confidence=None, latency_ms=30.0),
        ago("failed", status=InferenceStatus.FAILED, error=failed, prediction=None, confidence=None),
        ago("refused", status=InferenceStatus.FAILED, error=refused, prediction=None, confidence=None),
        ago("late", status=InferenceStatus.TIMEOUT, error="TIMEOUT: x", prediction="[[", confidence=float("nan")),
        ago("shadow", arm=ArmName.SHADOW),
    ]
    await record(database, *batch)
    await record(database, *batch, ago("one more", latency_ms=-1.0, prediction="8"))
    seen = await measured(sessions, timedelta(hours=1))
    assert (seen.requests, seen.failures, seen.refused) == (7, 2, 1)
    assert (seen.prediction.count, seen.prediction.total, seen.prediction.squares) == (4, 20.0, 120.0)
    assert seen.confidence.count == 3
    assert seen.confidence.total == pytest.approx(0.5 + 0.7 + 0.9)
    assert sum(seen.latency.values()) == 6, "a time below 0 is no time"
    assert seen.latency_quantiles(1.0) == [pytest.approx(30.0, rel=0.0101)]


async def test_any_window_says_what_the_rows_say(sessions: Sessions, database: psycopg.AsyncConnection[Any]) -> None:
    ages = [timedelta(seconds=seconds) for seconds in (1, 59, 61, 3_599, 3_700, 7_205, 80_000)]
    await record(database, *(ago(f"record-{number}", age) for number, age in enumerate(ages)))
    for span in (timedelta(seconds=30), timedelta(minutes=1.5), timedelta(hours=1), timedelta(hours=2.5)):
        expected = sum(int((NOW - age).timestamp()) >= int((NOW - span).timestamp()) for age in ages)
        assert (await measured(sessions, span)).requests == expected


async def test_versions_and_environments_are_told_apart(
    sessions: Sessions, database: psycopg.AsyncConnection[Any]
) -> None:
    await record(database, ago("a"), ago("b", version="2.0.0", application="b"))
    await record(database, ago("c", environment="Staging", application="c"), ago("d", model="other", application="d"))
    assert (await measured(sessions, timedelta(hours=1))).requests == 2
    assert (await measured(sessions, timedelta(hours=1), version="2.0.0")).requests == 1


async def test_what_is_too_old_by_the_second_is_still_there_by_the_minute(
    sessions: Sessions, database: psycopg.AsyncConnection[Any]
) -> None:
    await recorder.make_partitions(database, [NOW.date() - timedelta(days=5), NOW.date()])
    await record(database, ago("new"), ago("old", timedelta(days=5)))
    await let_go(sessions, RetentionSettings(records=timedelta(days=2)), now=NOW)
    assert (await measured(sessions, timedelta(days=6))).requests == 2
    async with sessions() as session:
        widths = await session.execute(text("SELECT width_seconds, count(*) FROM record_rollups GROUP BY 1 ORDER BY 1"))
        assert [tuple(row) for row in widths] == [(1, 1), (60, 2), (3600, 2)]
        assert list(await session.scalars(text("SELECT record_id FROM inference_requests"))) == ["new"]
        old = f"inference_requests_{NOW.date() - timedelta(days=5):%Y%m%d}"
        assert await session.scalar(text("SELECT to_regclass(:old)"), {"old": old}) is None


# --- what the proxies counted -----------------------------------------------------------------------------------------


async def sampled(sessions: Sessions, **proxies: Counts) -> Counts:
    """All that clients saw of the application by now."""
    await proxy_counts.sample(sessions, [ProxyReport(name, 1, 0.0, {"app": said}) for name, said in proxies.items()])
    async with sessions() as session:
        return await proxy_counts.at(session, "app", None)


async def test_proxies_that_restart_come_and_go_take_nothing_back(sessions: Sessions) -> None:
    first = Counts(10, 1, latency={"50": 9})
    assert await sampled(sessions, a=first) == first
    assert await sampled(sessions, a=first) == first
    assert await sampled(sessions, a=first, b=Counts(5)) == Counts(15, 1, latency={"50": 9})
    restarted = await sampled(sessions, a=Counts(2, latency={"50": 2}))
    assert restarted == Counts(17, 1, latency={"50": 11})
    async with sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM proxy_counts")) == 3, "a row only where it grew"


# --- over the API -----------------------------------------------------------------------------------------------------


async def test_a_model_that_nobody_asked_has_no_figures_and_no_error(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    answer = await world.http.get(f"/api/v1/models/{world.model}/metrics", headers=world.token(Role.VIEWER))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["total"], said["successRate"], said["latencyMs"]["p99"], said["clients"]["total"]) == (
        0,
        None,
        None,
        0,
    )


async def test_the_figures_of_a_version_over_the_api(world: ApiWorld, database: psycopg.AsyncConnection[Any]) -> None:
    await world.add_version("1.0.0")
    await world.add_version("2.0.0")
    for number in range(4):
        status = InferenceStatus.FAILED if number == 0 else InferenceStatus.COMPLETED
        await record(database, just_now(f"r{number}", model=world.model, status=status, latency_ms=10.0 + number))
    await record(database, just_now("other", model=world.model, version="2.0.0", application="b"))
    answer = await world.http.get(
        f"/api/v1/models/{world.model}/metrics?version=1.0.0&window=PT10M", headers=world.token(Role.VIEWER)
    )
    said = answer.json()
    assert (said["total"], said["succeeded"], said["failed"], said["successRate"]) == (4, 3, 1, 0.75)
    assert said["latencyMs"]["average"] == pytest.approx(11.5)
    assert said["requestsPerSecond"] == pytest.approx(4 / 600, rel=0.01)
    assert (said["accuracy"], said["quality"]["outcomes"], said["drift"]) == (None, 0, None)


async def test_accuracy_is_among_the_figures(
    world: ApiWorld, sessions: Sessions, database: psycopg.AsyncConnection[Any]
) -> None:
    await world.add_version("1.0.0")
    for number, (predicted, actual) in enumerate((("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"))):
        name = f"r{number}"
        await record(database, just_now(name, request_id=name, model=world.model, prediction=f'"{predicted}"'))
        await PostgresOutcomes(sessions).report([Reported(name, actual)], by="shop")
    assert await Matcher(sessions).match() == 4
    answer = await world.http.get(f"/api/v1/models/{world.model}/metrics", headers=world.token(Role.VIEWER))
    said = answer.json()
    assert (said["accuracy"], said["quality"]["outcomes"]) == (0.75, 4)
    assert said["quality"]["recall"] == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("wrong", ["window=PT0S", "window=P4000D", "window=soon", "version=%00", "environment=Moon"])
async def test_what_makes_no_sense_is_refused_by_name(world: ApiWorld, wrong: str) -> None:
    await world.add_version("1.0.0")
    answer = await world.http.get(f"/api/v1/models/{world.model}/metrics?{wrong}", headers=world.token(Role.VIEWER))
    assert answer.status_code == 400
    assert wrong.partition("=")[0] in json.dumps(answer.json()["error"]["details"])
