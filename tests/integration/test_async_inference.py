"""Inference that is answered later: accepted by the API, kept in PostgreSQL, answered once, whoever dies when."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from hotswap.domain.errors import AnswerLost, Conflict, InferenceNotFound, RateLimited, Unavailable
from hotswap.domain.vocabulary import InferenceStatus as S
from hotswap.inference import worker as answering_module
from hotswap.inference.gateway import GatewayAnswer
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.recorder import Writable, make_partitions, write
from hotswap.persistence.records import async_inference
from hotswap.persistence.records.async_inference import PostgresAsyncInference
from hotswap.persistence.records.retention import let_go
from hotswap.settings import RetentionSettings
from tests.fixtures.patience import patience, patient
from tests.fixtures.records import encoded
from tests.integration.async_answering import LIMITS, NEW, PREDICTION, FakeGateway, at_work, ended

LONG = timedelta(hours=1)


@pytest.fixture
def waiting(sessions: Sessions) -> PostgresAsyncInference:
    return PostgresAsyncInference(sessions)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering_module, "IDLE_SECONDS", 0.02)
    monkeypatch.setattr(answering_module, "FIRST_WAIT", timedelta(milliseconds=20))


async def test_what_was_accepted_is_asked_once_and_its_features_go_when_it_is_answered(
    waiting: PostgresAsyncInference, sessions: Sessions
) -> None:
    gateway = FakeGateway()
    assert (await waiting.accept(NEW, LIMITS)).status == S.PENDING
    await waiting.accept(replace(NEW, request_id="r-2", is_batch=True), LIMITS)
    async with at_work(waiting, gateway), at_work(waiting, gateway):
        seen = await ended(waiting)
        await ended(waiting, "r-2")
    assert (seen.status, seen.attempts, json.loads(seen.answer)) == (S.COMPLETED, 1, PREDICTION)
    assert sorted(gateway.asked) == [
        ("r-1", "fraud", NEW.body, NEW.headers),
        ("r-2", "fraud/batch", NEW.body, NEW.headers),
    ]
    async with sessions() as session:
        assert set(await session.scalars(text("SELECT body FROM async_inferences"))) == {None}


async def test_the_same_request_again_is_the_first_one_and_another_may_not_have_its_id(
    waiting: PostgresAsyncInference,
) -> None:
    first = await waiting.accept(NEW, LIMITS)
    both = await asyncio.gather(*(waiting.accept(NEW, LIMITS) for _ in range(4)))
    assert {each.accepted_at for each in both} == {first.accepted_at}
    for other in (replace(NEW, body="{}"), replace(NEW, model="churn"), replace(NEW, requested_by="bob")):
        with pytest.raises(Conflict, match="r-1"):
            await waiting.accept(other, LIMITS)
    async with at_work(waiting, FakeGateway()):
        await ended(waiting)
    assert (await waiting.accept(NEW, LIMITS)).status == S.COMPLETED, "also when it was answered"


async def test_a_refusal_is_an_end_and_what_says_nothing_is_asked_again(waiting: PostgresAsyncInference) -> None:
    right = GatewayAnswer(True, json.dumps(PREDICTION))
    said: Iterator[Unavailable | GatewayAnswer] = iter([Unavailable("away"), Unavailable("away"), right])

    def answer(request_id: str) -> GatewayAnswer:
        if request_id == "r-2":
            return GatewayAnswer(False, '{"error": {"code": "VALIDATION_ERROR"}}')
        found = next(said)
        if isinstance(found, Exception):
            raise found
        return found

    await waiting.accept(NEW, LIMITS)
    await waiting.accept(replace(NEW, request_id="r-2"), LIMITS)
    async with at_work(waiting, FakeGateway(answer)):
        assert ((await ended(waiting)).status, (await ended(waiting)).attempts) == (S.COMPLETED, 3)
        assert (await ended(waiting, "r-2")).status == S.FAILED


async def test_what_a_replica_may_have_answered_waits_for_its_record(
    waiting: PostgresAsyncInference, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    """It is asked again when its lease is over: by then what a replica has recorded is there."""
    monkeypatch.setattr(answering_module, "LEASE", LONG)
    said = iter([AnswerLost("no answer came in time")])

    def answer(request_id: str) -> GatewayAnswer:
        raise next(said)

    await waiting.accept(NEW, LIMITS)
    async with at_work(waiting, gateway := FakeGateway(answer)):
        async with asyncio.timeout(patient(20)):
            while ((seen := await waiting.find("r-1", of=None)).status, seen.attempts) != (S.PENDING, 1):
                await asyncio.sleep(0.02)
        assert seen.due_at is not None
        assert seen.due_at - datetime.now(UTC) > LONG / 2
        await record(postgres_url, {"features": "[1]", "prediction": "3"})
        await waiting.give_back("r-1", timedelta(0))  # as if the lease were over
        assert json.loads((await ended(waiting)).answer)["prediction"] == 3
    assert len(gateway.asked) == 1


async def test_a_dead_workers_requests_are_due_again_when_its_lease_is_over(
    waiting: PostgresAsyncInference, monkeypatch: pytest.MonkeyPatch
) -> None:
    await waiting.accept(NEW, LIMITS)
    (taken,) = await waiting.take(8)
    assert await waiting.take(8) == [], "nobody else has it meanwhile"
    with monkeypatch.context() as dead:
        dead.setattr(async_inference, "LEASE", timedelta(0))
        await waiting.renew({taken.request_id})
    async with at_work(waiting, gateway := FakeGateway()):
        assert (await ended(waiting)).attempts == 2
    assert len(gateway.asked) == 1
    await waiting.finish("r-1", S.FAILED, "{}")
    assert (await waiting.find("r-1", of=None)).status == S.COMPLETED, "who comes too late changes nothing"


async def test_a_slow_answer_keeps_its_lease(waiting: PostgresAsyncInference, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (async_inference, answering_module):
        monkeypatch.setattr(module, "LEASE", patience(seconds=6))
    await waiting.accept(NEW, LIMITS)
    is_renewed = asyncio.Event()

    class Slow(FakeGateway):
        async def ask(self, request_id: str, path: str, body: str, headers: dict[str, str]) -> GatewayAnswer:
            await is_renewed.wait()
            return await super().ask(request_id, path, body, headers)

    async with at_work(waiting, slow := Slow()), at_work(waiting, slow):
        async with asyncio.timeout(patient(60)):
            ends = set[datetime | None]()
            while len(ends) < 4:  # accepted, taken, renewed twice
                ends.add((await waiting.find("r-1", of=None)).due_at)
                await asyncio.sleep(0.02)
        is_renewed.set()
        assert (await ended(waiting)).attempts == 1


async def test_a_worker_that_is_given_its_own_request_again_asks_once_and_goes_on(
    waiting: PostgresAsyncInference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a database's failover that took longer than the lease, which nobody could renew."""
    monkeypatch.setattr(async_inference, "LEASE", timedelta(milliseconds=50))
    answered = asyncio.Event()

    class Slow(FakeGateway):
        async def ask(self, request_id: str, path: str, body: str, headers: dict[str, str]) -> GatewayAnswer:
            answer = await super().ask(request_id, path, body, headers)
            await answered.wait()
            return answer

    await waiting.accept(NEW, LIMITS)
    async with at_work(waiting, gateway := Slow()):
        async with asyncio.timeout(patient(20)):
            while (await waiting.find("r-1", of=None)).attempts < 3:
                await asyncio.sleep(0.02)
        answered.set()
        await ended(waiting)
        await waiting.accept(replace(NEW, request_id="r-2"), LIMITS)
        await ended(waiting, "r-2")
    assert [request_id for request_id, *_ in gateway.asked] == ["r-1", "r-2"]


@pytest.mark.parametrize("is_batch", [False, True], ids=["one", "batch"])
async def test_an_answer_that_was_lost_after_it_was_recorded_is_taken_from_its_record(
    waiting: PostgresAsyncInference, postgres_url: str, is_batch: bool
) -> None:
    body = '{"instances": [[1], [2]]}' if is_batch else NEW.body
    await waiting.accept(replace(NEW, is_batch=is_batch, body=body), LIMITS)
    await waiting.take(8)
    batch = {"batch": True, "instances": 2, "features": "[[1],[2]]", "prediction": "[1,0]", "confidence": None}
    asked: dict[str, Any] = {"version": "2.0.0", **(batch if is_batch else {"features": "[1]"})}
    early = asked | {"requested_at": (datetime.now(UTC) - timedelta(hours=1)).timestamp(), "prediction": "7"}
    await record(postgres_url, early, asked)
    await waiting.give_back("r-1", timedelta(0))
    async with at_work(waiting, gateway := FakeGateway()):
        answer = json.loads((await ended(waiting)).answer)
    assert gateway.asked == [], "it is neither computed nor counted again"
    assert (answer["requestId"], answer["modelName"], answer["version"]) == ("r-1", "fraud", "2.0.0")
    if is_batch:
        assert [each["prediction"] for each in answer["predictions"]] == [1, 0]
    else:
        assert (answer["prediction"], answer["confidence"]) == (1, 0.9)


async def test_the_record_of_another_question_with_the_same_id_is_no_answer(
    waiting: PostgresAsyncInference, postgres_url: str
) -> None:
    """An id is whatever a caller likes, and the Open Inference Protocol's clients like "1"."""
    others: list[dict[str, Any]] = [
        {"features": "[2]"},
        {"features": "[[1]]", "batch": True, "prediction": "[5]"},
        {"features": "[1]", "environment": "Staging"},
        {"features": "[1]", "model": "churn"},
        {"features": "[1]", "version": "2.0.0"},
    ]
    first = replace(NEW, headers={"x-hotswap-version": "1.0.0"})
    await waiting.accept(first, LIMITS)
    (taken,) = await waiting.take(8)
    await record(postgres_url, *others)
    assert await waiting.recorded(taken) is None
    assert await waiting.recorded(replace(taken, body='{"features": 1e999}')) is None, "no replica reads this"
    assert await waiting.recorded(replace(taken, headers={"x-hotswap-environment": "Staging"})) is not None
    await record(postgres_url, {"features": "[1]", "prediction": "3"})
    found = await waiting.recorded(taken)
    assert found is not None
    assert json.loads(found)["prediction"] == 3


async def record(postgres_url: str, *changes: dict[str, Any]) -> None:
    """What replicas have answered under the id r-1, now where it isn't said."""
    import psycopg

    now = datetime.now(UTC)
    usual = {"request_id": "r-1", "requested_at": now.timestamp()}
    made = [encoded(secrets.token_hex(4), **(usual | each)) for each in changes]
    async with await psycopg.AsyncConnection.connect(postgres_url.replace("+psycopg", "")) as database:
        await make_partitions(database, {now.date(), (now - timedelta(hours=1)).date()})
        await write(database, [Writable.of(each) for each in made])
        await database.commit()


async def test_after_its_deadline_it_is_timed_out_whoever_looks_and_whoever_answers(
    waiting: PostgresAsyncInference, sessions: Sessions
) -> None:
    await waiting.accept(NEW, replace(LIMITS, deadline=LONG))
    (taken,) = await waiting.take(8)
    assert 0 < taken.seconds_left < LONG.total_seconds()
    async with sessions.begin() as session:
        await session.execute(text("UPDATE async_inferences SET deadline_at = now()"))
    seen = await waiting.find("r-1", of=None)
    assert (seen.status, seen.completed_at) == (S.TIMEOUT, seen.deadline_at)
    await waiting.finish("r-1", S.COMPLETED, "{}")
    await waiting.give_back("r-1", timedelta(0))
    assert await waiting.take(8) == []
    async with at_work(waiting, gateway := FakeGateway()):
        assert (await ended(waiting)).status == S.TIMEOUT
    assert gateway.asked == []


async def test_only_so_many_wait(waiting: PostgresAsyncInference) -> None:
    limits = replace(LIMITS, waiting=3, waiting_of_caller=2)
    for number in range(2):
        await waiting.accept(replace(NEW, request_id=f"r-{number}"), limits)
    with pytest.raises(RateLimited, match="2 asynchronous requests of shop"):
        await waiting.accept(replace(NEW, request_id="r-2"), limits)
    await waiting.accept(replace(NEW, request_id="r-3", requested_by="bob"), limits)
    with pytest.raises(Unavailable, match="3 asynchronous requests wait"):
        await waiting.accept(replace(NEW, request_id="r-4", requested_by="eve"), limits)
    assert (await waiting.accept(replace(NEW, request_id="r-0"), limits)).status == S.PENDING, "it has its place"
    await waiting.finish("r-1", S.COMPLETED, "{}")
    await waiting.accept(replace(NEW, request_id="r-2"), limits)


async def test_answers_go_after_their_time_and_what_waits_stays(
    waiting: PostgresAsyncInference, sessions: Sessions
) -> None:
    await waiting.accept(NEW, LIMITS)
    await waiting.accept(replace(NEW, request_id="r-2"), LIMITS)
    await waiting.finish("r-1", S.COMPLETED, "{}")
    await let_go(sessions, RetentionSettings(), now=datetime.now(UTC) + timedelta(hours=25))
    with pytest.raises(InferenceNotFound):
        await waiting.find("r-1", of=None)
    assert (await waiting.find("r-2", of="shop")).status == S.PENDING


async def test_a_request_that_breaks_its_asking_ends_neither_the_worker_nor_the_others(
    waiting: PostgresAsyncInference,
) -> None:
    def answer(request_id: str) -> GatewayAnswer:
        if request_id == "r-1":
            raise RuntimeError("nobody thought of this")
        return GatewayAnswer(True, json.dumps(PREDICTION))

    await waiting.accept(NEW, LIMITS)
    async with at_work(waiting, FakeGateway(answer)):
        await waiting.accept(replace(NEW, request_id="r-2"), LIMITS)
        assert (await ended(waiting, "r-2")).status == S.COMPLETED
    assert (await waiting.find("r-1", of=None)).status == S.PROCESSING
