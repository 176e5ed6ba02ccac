"""The recorder moves inference records from the Redis stream into PostgreSQL.

It is started by `python -m hotswap.persistence.recorder`. Beside it, in the same process, outcomes are matched with the
records (`matcher.py`), and old records are deleted (`housekeeping.py`).

A batch is copied into a staging table and inserted from there, doing nothing for keys that are there already; it is
acknowledged and deleted from the stream only after the commit. So a crash anywhere repeats a batch and never loses or
doubles a record, nor what the records add up to (`rollups.py`). A record that can't be read or written is set aside in
a stream of its own, by itself: it is never retried for ever, and costs none of those beside it.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from anyio import create_task_group
from psycopg import AsyncConnection
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from hotswap.inference.records import STREAM, InferenceRecord, decode_record, split_batch
from hotswap.persistence.platform.database import Sessions, create_engine
from hotswap.persistence.records import rollups
from hotswap.persistence.records.housekeeping import Housekeeper
from hotswap.persistence.records.matcher import Matcher
from hotswap.process.lifetime import run_service, until_terminated
from hotswap.settings import Settings
from hotswap.telemetry.logs import mark_ready
from hotswap.traffic.bus import RedisTrafficBus

GROUP = "recorder"
DEAD = f"{STREAM}:dead"
"""Records that could not be written: `record` as it came, and `error`. `XINFO STREAM` counts all that ever came in."""

DEAD_KEPT = 10_000
DEAD_BYTES = 50 * 10**6
"""The most memory of the records that could not be written, in Redis; of more, the oldest are dropped."""
MOST_ERROR = 1_000
BATCH_ENTRIES = 20
BLOCK_MS = 1_000
CLAIM_AFTER_MS = 10_000
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 15.0
DAYS_AHEAD = 2
DAYS_BACK = 31
"""Older records than this go to the default partition: so long a backlog is none."""

_COLUMNS = (
    "requested_at, record_id, request_id, environment, model_name, version, deployment_id, application, arm, attempt, "
    "is_batch, instances, features, prediction, confidence, latency_ms, status, error, completed_at, fallback_from, "
    "chosen_by, entity, form, tensors, withheld"
)
_STAGE = "CREATE TEMP TABLE IF NOT EXISTS staged (LIKE inference_requests) ON COMMIT DELETE ROWS"
_COPY = f"COPY staged ({_COLUMNS}) FROM STDIN"
_INSERT = (
    f"INSERT INTO inference_requests ({_COLUMNS}) SELECT {_COLUMNS} FROM staged "  # noqa: S608 - constants only
    f"ON CONFLICT DO NOTHING RETURNING {rollups.RETURNED}"
)

_UNWRITABLE = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)
"""Errors of the database about a value that it will never take: the latter about one too long for its index."""

StreamEntry = tuple[bytes, dict[bytes, bytes]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Writable:
    """A record as the table's row, and as it came, for when the table refuses it."""

    raw: bytes
    row: tuple[Any, ...]

    @classmethod
    def of(cls, raw: bytes) -> "Writable":
        """Decode a record. Raises msgspec.MsgspecError, ValueError or OverflowError for bytes that are none."""
        return cls(raw, _row(decode_record(raw)))

    @property
    def day(self) -> date:
        requested_at: datetime = self.row[0]
        return requested_at.date()


@dataclass(frozen=True, slots=True)
class Dead:
    raw: bytes
    error: str


class Recorder:
    def __init__(self, redis: Redis, database_url: str) -> None:
        self._redis = redis
        self._database_url = database_url
        self._consumer = f"{socket.gethostname()}-{os.getpid()}"
        self._database: AsyncConnection[Any] | None = None
        self._partitioned: set[date] = set()

    async def run(self) -> None:
        """Run until cancelled; while a server is away, wait a little longer each time."""
        try:
            while True:
                await AsyncRetrying(
                    retry=retry_if_exception_type((RedisError, psycopg.Error, OSError)),
                    wait=wait_exponential_jitter(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS, jitter=1),
                    before_sleep=self._start_again,
                )(self._record_next)
        finally:
            await self._disconnect()

    async def _start_again(self, failed: RetryCallState) -> None:
        assert failed.outcome is not None
        wait = failed.next_action.sleep if failed.next_action is not None else 0.0
        logger.warning(
            "records wait in the stream", extra={"error": str(failed.outcome.exception()), "seconds": round(wait, 1)}
        )
        await self._disconnect()

    async def _connected(self) -> AsyncConnection[Any]:
        if self._database is None:
            with contextlib.suppress(ResponseError):  # the group is there already
                await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
            self._database = await AsyncConnection.connect(self._database_url, autocommit=False, connect_timeout=5)
            mark_ready()
        return self._database

    async def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            await database.close()

    async def _record_next(self) -> None:
        database = await self._connected()
        today = datetime.now(UTC).date()
        await self._partition(database, {today + timedelta(days=ahead) for ahead in range(DAYS_AHEAD + 1)})
        entries = await self._left_behind() or await self._next()
        if entries:
            await self._record(database, entries)

    async def _partition(self, database: AsyncConnection[Any], days: set[date]) -> None:
        if missing := days - self._partitioned:
            await make_partitions(database, missing)
            self._partitioned |= missing

    async def _left_behind(self) -> list[StreamEntry]:
        """Return the entries that a recorder took and never finished."""
        claimed: Any = await self._redis.xautoclaim(
            STREAM, GROUP, self._consumer, min_idle_time=CLAIM_AFTER_MS, count=BATCH_ENTRIES
        )
        return [(key, fields) for key, fields in claimed[1] if fields]

    async def _next(self) -> list[StreamEntry]:
        taken: Any = await self._redis.xreadgroup(
            GROUP, self._consumer, {STREAM: ">"}, count=BATCH_ENTRIES, block=BLOCK_MS
        )
        if not taken:
            return []
        streams = taken.items() if isinstance(taken, dict) else taken
        return [entry for _, entries in streams for entry in (entries[0] if isinstance(taken, dict) else entries)]

    async def _record(self, database: AsyncConnection[Any], entries: list[StreamEntry]) -> None:
        writable, dead = _read(entries)
        oldest = datetime.now(UTC).date() - timedelta(days=DAYS_BACK)
        newest = datetime.now(UTC).date() + timedelta(days=DAYS_AHEAD)
        await self._partition(database, {each.day for each in writable if oldest <= each.day <= newest})
        dead += await write(database, writable)
        keys = [key for key, _ in entries]
        async with self._redis.pipeline(transaction=True) as pipeline:
            for each in dead:
                error = each.error[:MOST_ERROR]
                pipeline.xadd(DEAD, {"record": each.raw, "error": error}, maxlen=DEAD_KEPT, approximate=True)
            pipeline.xack(STREAM, GROUP, *keys)
            pipeline.xdel(STREAM, *keys)
            await pipeline.execute()
        if dead:
            logger.error("records are set aside", extra={"count": len(dead), "stream": DEAD, "error": dead[0].error})
            await self._bound_dead()

    async def _bound_dead(self) -> None:
        """Drop the oldest records that were set aside, until the others have room."""
        dropped = 0
        while (used := await self._redis.memory_usage(DEAD, samples=0) or 0) > DEAD_BYTES:
            length = await self._redis.xlen(DEAD)
            if length <= 1:
                break
            kept = min(length - 1, int(length * DEAD_BYTES / used))
            dropped += await self._redis.xtrim(DEAD, maxlen=max(1, kept), approximate=False)
        if dropped:
            logger.error("records that were set aside are dropped", extra={"count": dropped, "stream": DEAD})


async def write(database: AsyncConnection[Any], records: Sequence[Writable]) -> list[Dead]:
    """Insert the records that aren't there yet, and roll them up; those that can never be written are answered.

    One transaction when all is well. A batch that is refused is halved until the bad ones stand alone.
    """
    if not records:
        return []
    try:
        async with database.transaction(), database.cursor() as cursor:
            await cursor.execute(_STAGE)
            async with cursor.copy(_COPY) as copy:
                for record in records:
                    await copy.write_row(record.row)
            await cursor.execute(_INSERT)
            await rollups.add(cursor, await cursor.fetchall())
    except _UNWRITABLE as error:
        if len(records) == 1:
            return [Dead(records[0].raw, str(error))]
        half = len(records) // 2
        return await write(database, records[:half]) + await write(database, records[half:])
    return []


async def make_partitions(database: AsyncConnection[Any], days: Iterable[date]) -> None:
    """Create a partition for each of these days in UTC; without one, records go to the default partition."""
    for day in sorted(days):
        try:
            async with database.transaction():
                await database.execute("SET LOCAL lock_timeout = '5s'")
                await database.execute(
                    f"CREATE TABLE IF NOT EXISTS inference_requests_{day:%Y%m%d} PARTITION OF inference_requests "
                    f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
                )
        except (psycopg.errors.DuplicateTable, psycopg.errors.UniqueViolation):
            logger.debug("another recorder made the partition", extra={"day": str(day)})
        except (psycopg.errors.CheckViolation, psycopg.errors.LockNotAvailable) as error:
            logger.warning(
                "a day has no partition of its own; its records are in inference_requests_default",
                extra={"day": str(day), "error": str(error)},
            )


def _read(entries: list[StreamEntry]) -> tuple[list[Writable], list[Dead]]:
    """Read every record by itself, so that a malformed one doesn't affect the others."""
    writable: list[Writable] = []
    dead: list[Dead] = []
    for _, fields in entries:
        batch = fields.get(b"records", b"")
        try:
            raws = [bytes(raw) for raw in split_batch(batch)]
        except msgspec.MsgspecError as error:
            dead.append(Dead(batch, str(error)))
            continue
        for raw in raws:
            try:
                writable.append(Writable.of(raw))
            except (msgspec.MsgspecError, ValueError, OverflowError) as error:
                dead.append(Dead(raw, str(error)))
    return writable, dead


def _row(record: InferenceRecord) -> tuple[Any, ...]:
    return (
        datetime.fromtimestamp(record.requested_at, UTC),
        record.record_id,
        _text(record.request_id),
        record.environment,
        record.model,
        record.version,
        record.deployment_id,
        record.application,
        record.arm,
        record.attempt,
        record.batch,
        record.instances,
        _text(record.features),
        _text(record.prediction),
        record.confidence,
        record.latency_ms,
        record.status,
        _text(record.error),
        datetime.fromtimestamp(record.completed_at, UTC),
        _text(record.fallback_from),
        record.chosen_by,
        record.entity,
        record.form,
        _text(record.tensors),
        record.withheld,
    )


def _text(value: str | None) -> str | None:
    """Remove NUL, which a client may send and PostgreSQL's text can't hold."""
    return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


async def serve(settings: Settings) -> None:
    redis = Redis.from_url(settings.redis.url.get_secret_value())
    engine = create_engine(settings.postgres)
    url = settings.postgres.url.get_secret_value().replace("postgresql+psycopg://", "postgresql://")
    sessions = Sessions(engine)
    recorder, matcher = Recorder(redis, url), Matcher(sessions)
    housekeeper = Housekeeper(sessions, RedisTrafficBus(redis), settings.retention)

    async def work() -> None:
        async with create_task_group() as group:
            for each in (recorder, matcher, housekeeper):
                group.start_soon(each.run)

    await until_terminated(work)
    await redis.aclose()
    await engine.dispose()


def main() -> None:
    run_service("recorder", Settings, serve)


if __name__ == "__main__":
    main()
