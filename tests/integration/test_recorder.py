"""From stream to table: every record once, whatever it holds and whoever dies on the way."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from anyio import create_task_group
from redis.asyncio import Redis
from sqlalchemy import text

from hotswap.domain.vocabulary import ChosenBy
from hotswap.inference.records import STREAM, decode_record, encode_batch
from hotswap.persistence import recorder
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.recorder import DEAD, GROUP, Recorder
from hotswap.process.lifetime import until_terminated
from tests.fixtures.patience import patient
from tests.fixtures.records import GOOD, encoded
from tests.fixtures.valkey import ValkeyServer, entries


def record(number: int) -> bytes:
    return encoded(f"record-{number}")


@dataclass
class Line:
    """The stream at one end, the table at the other."""

    redis: Redis
    sessions: Sessions
    redis_url: str
    database_url: str

    async def send(self, *records: bytes) -> None:
        await self.redis.xadd(STREAM, {"records": encode_batch([msgspec.Raw(each) for each in records])})

    async def recorded(self) -> list[str]:
        async with self.sessions() as session:
            return list(await session.scalars(text("SELECT record_id FROM inference_requests ORDER BY record_id")))

    async def until_empty(self, *, seconds: float = 30) -> None:
        async with asyncio.timeout(patient(seconds)):
            while await self.redis.xlen(STREAM):
                await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def recording(self) -> AsyncIterator[None]:
        async with create_task_group() as group:
            group.start_soon(Recorder(self.redis, self.database_url).run)
            yield
            group.cancel_scope.cancel()

    async def dead(self) -> list[dict[bytes, bytes]]:
        return await entries(self.redis, DEAD)


@pytest.fixture
async def line(own_valkey: ValkeyServer, sessions: Sessions, postgres_url: str) -> AsyncIterator[Line]:
    async with Redis.from_url(own_valkey.url) as redis:
        yield Line(redis, sessions, own_valkey.url, postgres_url.replace("postgresql+psycopg://", "postgresql://"))


# --- what can't be written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "poison",
    [
        {"requested_at": 1e20},
        {"requested_at": float("nan")},
        {"completed_at": float("inf")},
        {"model": "fr\0aud"},
        {"attempt": 2**63},
        {"request_id": "".join(chr(0x100 + (7919 * i * i) % 20_000) for i in range(9_000))},
    ],
    ids=["far future", "no time", "endless", "NUL", "too large", "too long for its index"],
)
async def test_a_record_that_cannot_be_written_is_set_aside_alone(line: Line, poison: dict[str, Any]) -> None:
    bad = encoded("bad", **poison)
    async with line.recording():
        await line.send(*map(record, range(10)), bad, *map(record, range(10, 20)))
        await line.until_empty()
        await line.send(record(20))
        await line.until_empty()
    assert await line.recorded() == sorted(f"record-{number}" for number in range(21))
    (dead,) = await line.dead()
    assert dead[b"record"] == bad
    assert dead[b"error"]


async def test_a_record_keeps_its_marks_and_one_from_before_there_were_marks_has_none(line: Line) -> None:
    marked = encoded("marked", fallback_from="2.0.0", chosen_by=ChosenBy.TESTER)
    before = msgspec.msgpack.decode(encoded("plain"))
    del before["fallback_from"], before["chosen_by"]
    await line.send(marked, msgspec.msgpack.encode(before))
    async with line.recording():
        await line.until_empty()
    async with line.sessions() as session:
        found = await session.execute(
            text("SELECT record_id, fallback_from, chosen_by FROM inference_requests ORDER BY 1")
        )
        assert [tuple(row) for row in found] == [("marked", "2.0.0", "tester"), ("plain", None, "weight")]


async def test_what_is_no_record_is_set_aside_and_spoils_nothing_beside_it(line: Line) -> None:
    await line.redis.xadd(STREAM, {"records": b"\xc1 no msgpack"})
    await line.redis.xadd(STREAM, {"something": "else"})
    await line.send(record(1), msgspec.msgpack.encode({"record_id": "half"}), record(2))
    async with line.recording():
        await line.until_empty()
    assert await line.recorded() == ["record-1", "record-2"]
    assert len(await line.dead()) == 3


async def test_what_is_set_aside_is_bounded_by_bytes_and_the_oldest_goes_first(
    line: Line, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder, "DEAD_BYTES", 300_000)
    async with line.recording():
        for number in range(10):
            await line.redis.xadd(STREAM, {"records": b"\xc1%02d" % number + b"x" * 50_000})
        await line.redis.xadd(STREAM, {"records": b"\xc1 the last one is small"})
        await line.until_empty()
    kept = [fields[b"record"][1:3] for fields in await line.dead()]
    assert 3 <= len(kept) <= 7
    came = [*(b"%02d" % number for number in range(10)), b" t"]
    assert kept == came[11 - len(kept) :]
    dropped = [vars(each)["count"] for each in caplog.records if "are dropped" in each.getMessage()]
    assert sum(dropped) == 11 - len(kept)


# --- who dies ---------------------------------------------------------------------------------------------------------


def record_in_its_own_process(redis_url: str, database_url: str) -> None:
    recorder.CLAIM_AFTER_MS = 300
    asyncio.run(Recorder(Redis.from_url(redis_url), database_url).run())


@contextlib.asynccontextmanager
async def insert_stopped(line: Line, numbers: range) -> AsyncIterator[None]:
    """Whoever inserts one of these records waits: another transaction has them, and ends without."""
    today = datetime.now(UTC).date()
    async with await psycopg.AsyncConnection.connect(line.database_url) as database:
        await recorder.make_partitions(database, [today + timedelta(days=ahead) for ahead in range(3)])
        await database.commit()
        rows = [recorder.Writable(b"", recorder._row(decode_record(record(number)))) for number in numbers]
        async with database.transaction(force_rollback=True):
            assert await recorder.write(database, rows) == []
            yield


async def until_inserting(line: Line) -> None:
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT%'")

    async def is_waiting() -> bool:
        async with line.sessions() as session:  # a transaction sees one state of pg_stat_activity
            return bool(await session.scalar(waiting))

    async with asyncio.timeout(patient(30)):
        while not await is_waiting():
            await asyncio.sleep(0.01)


async def until_alone(line: Line) -> None:
    """Valkey has seen that the recorder is gone: what it asked for and hasn't got is not done."""
    own = await line.redis.client_id()
    async with asyncio.timeout(patient(30)):
        while {int(client["id"]) for client in await line.redis.client_list()} != {own}:
            await asyncio.sleep(0.01)


async def until_recorded(line: Line) -> None:
    async with asyncio.timeout(patient(30)):
        while not await line.recorded():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("committed", [False, True], ids=["before its commit", "between commit and acknowledgement"])
async def test_a_recorder_killed_at_its_commit_writes_every_record_once(
    line: Line, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    for batch in range(100):
        await line.send(*map(record, range(batch * 10, batch * 10 + 10)))
    process = multiprocessing.get_context("spawn").Process(
        target=record_in_its_own_process, args=(line.redis_url, line.database_url), daemon=True
    )
    async with insert_stopped(line, range(1_000)):
        process.start()
        await until_inserting(line)
        if committed:
            await line.redis.client_pause(60_000, all=False)
        else:
            process.kill()
            process.join()
    if committed:
        await until_recorded(line)
        process.kill()
        process.join()
        await until_alone(line)
        await line.redis.client_unpause()
    taken = recorder.BATCH_ENTRIES
    assert len(await line.recorded()) == (taken * 10 if committed else 0)
    assert (await line.redis.xlen(STREAM), (await line.redis.xpending(STREAM, GROUP))["pending"]) == (100, taken)
    monkeypatch.setattr(recorder, "CLAIM_AFTER_MS", 300)
    async with line.recording():
        await line.until_empty()
    assert await line.recorded() == sorted(f"record-{number}" for number in range(1_000))
    assert await line.dead() == []


async def test_a_lost_stream_and_a_lost_connection_are_only_waited_for(line: Line) -> None:
    async with line.recording():
        await line.send(record(1))
        await line.until_empty()
        await line.redis.flushall()
        async with line.sessions.begin() as session:
            await session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        await line.send(record(2))
        await line.until_empty()
    assert await line.recorded() == ["record-1", "record-2"]


async def test_it_ends_whenever_it_is_told_to(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "BLOCK_MS", 20)
    for milliseconds in range(150):
        ending = asyncio.create_task(until_terminated(Recorder(line.redis, line.database_url).run))
        await asyncio.sleep(0.01 + milliseconds % 30 / 1000)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait([ending], timeout=patient(20))
        assert ending.done()


async def test_a_missing_setting_stops_it_for_good(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOTSWAP_")}
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "hotswap.persistence.recorder"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == os.EX_CONFIG
    assert "setting HOTSWAP_" in ended.stderr


# --- partitions -------------------------------------------------------------------------------------------------------


async def partitions(database_url: str, *, timezone: str = "UTC") -> dict[str, str]:
    async with await psycopg.AsyncConnection.connect(database_url, options=f"-c timezone={timezone}") as database:
        found = await database.execute(
            "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relispartition AND relkind = 'r'"
        )
        return dict(await found.fetchall())


async def test_a_partition_is_a_day_in_utc_wherever_the_session_is(line: Line) -> None:
    day = date(2026, 3, 28)
    for timezone in ("Pacific/Kiritimati", "America/Los_Angeles"):
        options = f"-c timezone={timezone}"
        async with await psycopg.AsyncConnection.connect(line.database_url, options=options) as database:
            await recorder.make_partitions(database, [day, day + timedelta(days=1)])
        day += timedelta(days=2)
    made = await partitions(line.database_url)
    for number in (28, 29, 30, 31):
        following = date(2026, 3, number) + timedelta(days=1)
        bound = f"FOR VALUES FROM ('2026-03-{number} 00:00:00+00') TO ('{following} 00:00:00+00')"
        assert made[f"inference_requests_202603{number}"] == bound


async def test_the_days_of_a_backlog_get_their_partitions(line: Line) -> None:
    then = datetime.now(UTC) - timedelta(days=3)
    await line.send(encoded("late", requested_at=then.timestamp()))
    async with line.recording():
        await line.until_empty()
    assert f"inference_requests_{then:%Y%m%d}" in await partitions(line.database_url)
    async with line.sessions() as session:
        assert await session.scalar(text("SELECT count(*) FROM inference_requests_default")) == 0


async def test_rows_in_the_default_partition_are_a_warning_and_no_end(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    async with await psycopg.AsyncConnection.connect(line.database_url) as database:
        row = recorder.Writable(b"", recorder._row(GOOD))
        assert await recorder.write(database, [row]) == []
    async with line.recording():
        await line.send(record(1))
        await line.until_empty()
    assert await line.recorded() == ["good", "record-1"]
    assert "a day has no partition of its own" in caplog.text
