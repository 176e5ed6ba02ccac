"""Outcomes on PostgreSQL: reported, found their records, counted once, replaced, compared."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from hotswap.analysis.quality import Quality
from hotswap.domain.analysis import JudgeName, Metric, Moments, Reading, Source, Subject, Worse
from hotswap.domain.vocabulary import ArmName, ChosenBy, InferenceStatus
from hotswap.persistence.analysis.accuracy import PostgresAccuracy
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.records import matcher as matching
from hotswap.persistence.records import retention
from hotswap.persistence.records.matcher import Matcher
from hotswap.persistence.records.outcomes import PostgresOutcomes, Reported
from hotswap.persistence.records.quality import quality
from hotswap.settings import RetentionSettings
from tests.fixtures.patience import patient
from tests.fixtures.records import encoded
from tests.fixtures.records import record as written
from tests.fixtures.rows import registered

NOW = datetime.now(UTC).timestamp()
Record = Callable[..., Awaitable[None]]


@pytest.fixture
async def record(postgres_url: str) -> AsyncIterator[Record]:
    """Write one record as the recorder does; its request is named by the first argument."""
    url = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    async with await psycopg.AsyncConnection.connect(url) as database:

        async def write(request_id: str, prediction: str | None = "1", **changes: Any) -> None:
            key = changes.pop("record_id", f"record-{request_id}")
            made = encoded(key, **{"request_id": request_id, "prediction": prediction, "requested_at": NOW, **changes})
            await written(database, made)

        yield write


async def report(sessions: Sessions, **outcomes: str) -> None:
    await PostgresOutcomes(sessions).report([Reported(*each) for each in outcomes.items()], by="shop")


async def matched(sessions: Sessions) -> int:
    """How many were taken, also of those that would be due later."""
    async with sessions.begin() as session:
        await session.execute(text("UPDATE outcomes SET due_at = now() WHERE due_at IS NOT NULL"))
    return await Matcher(sessions).match()


async def seen(sessions: Sessions, *, around: float = NOW, **which: str) -> Quality:
    at = datetime.fromtimestamp(around, UTC)
    async with sessions() as session:
        return await quality(session, since=at - timedelta(hours=2), until=at + timedelta(hours=2), **which)


# --- counted ----------------------------------------------------------------------------------------------------------


async def test_an_outcome_is_counted_with_the_record_that_answered(sessions: Sessions, record: Record) -> None:
    await record("a", "1", record_id="1", status=InferenceStatus.FAILED, application="new", arm=ArmName.CANDIDATE)
    await record("a", "0", record_id="2", arm=ArmName.SHADOW, application="shadow")
    await record("a", "1", record_id="3", application="app", fallback_from="2.0.0", requested_at=NOW + 1)
    await record("b", "0")
    await report(sessions, a="1", b="1")
    assert await matched(sessions) == 2
    assert await matched(sessions) == 0
    said = await seen(sessions)
    assert (said.labels, said.accuracy) == (2, 0.5)
    assert said.confusion == {"1": {"1": 1, "0": 1}}
    assert await seen(sessions, application="app") == await seen(sessions, model="fraud", version="1.0.0") == said
    assert (await seen(sessions, application="shadow")).scored == 0
    assert (await seen(sessions, model="fraud", environment="Staging")).scored == 0


async def test_a_window_ends_where_it_says(sessions: Sessions, record: Record) -> None:
    begin = NOW // 3600 * 3600
    for second in range(0, 7_300, 100):
        await record(f"r{second}", "1", requested_at=begin + second)
    await report(sessions, **{f"r{second}": "1" for second in range(0, 7_300, 100)})
    await matched(sessions)

    async def between(since: float, until: float) -> int:
        async with sessions() as session:
            window = (datetime.fromtimestamp(begin + each, UTC) for each in (since, until))
            return (await quality(session, since=next(window), until=next(window))).labels

    assert await between(0, 7_201) == 73
    assert await between(0, 7_200) == 72
    assert await between(1, 7_200) == 71
    assert await between(100, 3_601) == 36
    assert await between(101, 199) == 0
    assert await between(500, 400) == 0


async def test_a_record_may_come_after_its_outcome(sessions: Sessions, record: Record) -> None:
    await report(sessions, late="1", never="1")
    assert await Matcher(sessions).match() == 2
    assert await Matcher(sessions).match() == 0, "what has no record is not looked for all the time"
    await record("late", "1")
    assert await matched(sessions) == 2
    assert (await seen(sessions)).labels == 1


async def test_the_same_outcome_again_changes_nothing_and_another_one_replaces_it(
    sessions: Sessions, record: Record
) -> None:
    await record("a", "1")
    await record("b", "1")
    await report(sessions, a="0", b="1")
    await matched(sessions)
    await report(sessions, a="0", b="1")
    assert await matched(sessions) == 0
    assert (await seen(sessions)).accuracy == 0.5
    await report(sessions, a="1")
    await matched(sessions)
    said = await seen(sessions)
    assert (said.labels, said.accuracy, said.confusion) == (2, 1.0, {"1": {"1": 2}})


async def test_numbers_are_replaced_too(sessions: Sessions, record: Record) -> None:
    await record("a", "2.5")
    await report(sessions, a="4.5")
    await matched(sessions)
    assert (await seen(sessions)).mae == 2.0
    await report(sessions, a="2")
    await matched(sessions)
    said = await seen(sessions)
    assert (said.numbers, said.mae, said.rmse, said.accuracy) == (1, 0.5, 0.5, None)


async def test_the_models_type_says_what_a_number_is(sessions: Sessions, record: Record) -> None:
    await registered(sessions, "1.0.0")
    async with sessions.begin() as session:
        await session.execute(text("UPDATE models SET type = 'Regression'"))
    await record("a", "2")
    await report(sessions, a="3")
    await matched(sessions)
    assert (await seen(sessions)).mae == 1.0


async def test_one_observed_before_the_one_known_does_not_replace_it(sessions: Sessions, record: Record) -> None:
    outcomes, noon = PostgresOutcomes(sessions), datetime.now(UTC)
    await record("a", "1")
    await outcomes.report([Reported("a", "1", noon)], by="shop")
    await outcomes.report([Reported("a", "0", noon - timedelta(hours=1))], by="shop")
    await matched(sessions)
    assert (await seen(sessions)).accuracy == 1.0
    await outcomes.report([Reported("a", "1"), Reported("a", "0", noon + timedelta(hours=1))], by="shop")
    await matched(sessions)
    assert (await seen(sessions)).accuracy == 0.0


@pytest.mark.parametrize("prediction", [None, "[0.2,0.8]", '{"a":1}'])
async def test_what_cannot_be_scored_is_nobodys_success_and_not_looked_for_again(
    sessions: Sessions, record: Record, prediction: str | None
) -> None:
    await record("a", prediction)
    await report(sessions, a="1")
    assert await matched(sessions) == 1
    assert await matched(sessions) == 0
    assert (await seen(sessions)).scored == 0


async def test_many_matchers_count_each_outcome_once(
    sessions: Sessions, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "AT_ONCE", 7)
    for number in range(60):
        await record(f"r{number}", str(number % 3), application=f"app-{number % 2}")
    await report(sessions, **{f"r{number}": "1" for number in range(60)})

    async def work() -> None:
        while await Matcher(sessions).match():
            pass

    await asyncio.gather(*(work() for _ in range(4)))
    assert await matched(sessions) == 0
    said = await seen(sessions)
    assert said.labels == 60
    assert said.accuracy == pytest.approx(1 / 3)


async def test_it_runs_until_it_is_told_to_stop_and_outlives_a_lost_connection(
    sessions: Sessions, record: Record
) -> None:
    running = asyncio.create_task(Matcher(sessions).run())
    await record("a", "1")
    async with sessions.begin() as session:
        await session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND query NOT LIKE '%inference_requests%' AND state = 'idle'"
            )
        )
    await report(sessions, a="1")
    async with asyncio.timeout(patient(30)):
        while not (await seen(sessions)).labels:
            await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_what_is_old_is_dropped(sessions: Sessions, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_AT_ONCE", 2)
    await record("a", "1")
    await record("b", "1", requested_at=NOW - 8 * 86_400)
    await report(sessions, a="1", b="1", **{f"unknown{number}": "1" for number in range(5)}, recent="1")
    await matched(sessions)
    async with sessions.begin() as session:
        await session.execute(
            text("UPDATE outcomes SET received_at = now() - interval '8 days' WHERE request_id <> 'recent'")
        )
    await retention.let_go(sessions, RetentionSettings(), now=datetime.now(UTC))
    async with sessions() as session:
        left = set(await session.scalars(text("SELECT request_id FROM outcomes")))
        widths = await session.execute(text("SELECT width_seconds, count(*) FROM outcome_rollups GROUP BY 1"))
        assert left == {"a", "b", "recent"}
        assert {tuple(row) for row in widths} == {(1, 1), (60, 2), (3600, 2)}


# --- compared ---------------------------------------------------------------------------------------------------------

SUBJECT = Subject("dep-b", "Production", "fraud", "new", "old", "2.0.0", "1.0.0", 1_000, NOW)
ACCURACY = Metric("accuracy", Source.ACCURACY, JudgeName.MEAN, worse=Worse.LOWER)


async def read(sessions: Sessions, *, weight: int = 1_000, bounds: tuple[float, float] = (0.0, 1.0)) -> Reading:
    subject = Subject("dep-b", "Production", "fraud", "new", "old", "2.0.0", "1.0.0", weight, NOW)
    metric = Metric("accuracy", Source.ACCURACY, JudgeName.MEAN, worse=Worse.LOWER, bounds=bounds)
    return await PostgresAccuracy(sessions, clock=lambda: NOW + 9).read(metric, subject)


async def test_arms_are_compared_by_what_the_weight_chose_since_it_was_verified(
    sessions: Sessions, record: Record
) -> None:
    at = {"requested_at": NOW + 0.5}
    await record("new-right", "1", application="new", **at)
    await record("new-wrong", "0", application="new", **at)
    await record("old-right", "1", application="old", **at)
    await record("old-before", "0", application="old", requested_at=NOW - 0.5)
    await record("by-name", "0", application="old", chosen_by=ChosenBy.VERSION, **at)
    await record("by-tester", "0", application="new", chosen_by=ChosenBy.TESTER, **at)
    await record("rescued", "0", application="old", fallback_from="2.0.0", **at)
    await record("elsewhere", "0", application="other", **at)
    for name in ("new-right", "new-wrong", "old-right", "old-before", "by-name", "by-tester", "rescued", "elsewhere"):
        await report(sessions, **{name: "1"})
    await matched(sessions)
    assert await read(sessions) == Reading(NOW + 9, candidate=Moments(2, 1.0, 1.0), stable=Moments(1, 1.0, 1.0))


async def test_a_candidate_alone_is_compared_with_the_stables_past(sessions: Sessions, record: Record) -> None:
    await record("before", "1", application="old", requested_at=NOW - 60)
    await record("after", "1", application="new", requested_at=NOW + 1)
    await report(sessions, before="1", after="0")
    await matched(sessions)
    alone = await read(sessions, weight=10_000)
    assert (alone.candidate, alone.stable) == (Moments(1, 0.0, 0.0), Moments(1, 1.0, 1.0))


async def test_without_outcomes_there_is_nothing_to_say(sessions: Sessions) -> None:
    assert await read(sessions) == Reading(NOW + 9, candidate=Moments(), stable=Moments())


async def test_numbers_are_compared_by_their_distance_within_the_bounds(sessions: Sessions, record: Record) -> None:
    await record("near", "2.5", application="new", requested_at=NOW + 1)
    await record("far", "2.5", application="new", requested_at=NOW + 1)
    await record("old", "3.0", application="old", requested_at=NOW + 1)
    await report(sessions, near="2", far="1000", old="1")
    await matched(sessions)
    reading = await read(sessions, bounds=(-10.0, 0.0))
    assert (reading.candidate, reading.stable) == (Moments(2, -10.5, 100.25), Moments(1, -2.0, 4.0))
    without = await read(sessions)
    assert without.error is not None
    assert "`bounds` below 0" in without.error
    assert without.candidate is None
