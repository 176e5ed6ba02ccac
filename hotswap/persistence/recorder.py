"""The recorder: moves inference records from the Redis stream into PostgreSQL. `python -m hotswap.persistence.recorder`

A batch is copied into a staging table and inserted from there, doing nothing for keys that are there already; it is
acknowledged and deleted from the stream only after the commit. So a crash anywhere repeats a batch and never loses or
doubles a record. What can't be read is set aside, never retried for ever.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from hotswap.records import STREAM, InferenceRecord, decode_batch
from hotswap.settings import Settings, SettingsError, load
from hotswap.telemetry import configure_logging, mark_ready

GROUP = "recorder"
DEAD = f"{STREAM}:dead"
BATCH_ENTRIES = 20
BLOCK_MS = 1_000
CLAIM_AFTER_MS = 10_000
RETRY_SECONDS = 1.0
DAYS_AHEAD = 2

_COLUMNS = (
    "requested_at, record_id, request_id, environment, model_name, version, deployment_id, application, arm, attempt, "
    "is_batch, instances, features, prediction, confidence, latency_ms, status, error, completed_at"
)
_STAGE = "CREATE TEMP TABLE IF NOT EXISTS staged (LIKE inference_requests) ON COMMIT DELETE ROWS"
_COPY = f"COPY staged ({_COLUMNS}) FROM STDIN"
_INSERT = (
    f"INSERT INTO inference_requests ({_COLUMNS}) SELECT {_COLUMNS} FROM staged "  # noqa: S608 - constants only
    "ON CONFLICT DO NOTHING"
)

Entry = tuple[bytes, dict[bytes, bytes]]

logger = logging.getLogger(__name__)


class Recorder:
    def __init__(self, redis: Redis, database_url: str) -> None:
        self._redis = redis
        self._database_url = database_url
        self._consumer = f"{socket.gethostname()}-{os.getpid()}"

    async def run(self) -> None:
        """Until cancelled; whatever is away is waited for."""
        while True:
            try:
                await self._record_while_connected()
            except (RedisError, psycopg.Error, OSError) as error:
                logger.warning("records wait in the stream", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)

    async def _record_while_connected(self) -> None:
        with contextlib.suppress(ResponseError):  # the group is there already
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        async with await AsyncConnection.connect(self._database_url, autocommit=False) as database:
            await make_partitions(database, datetime.now(UTC))
            day = datetime.now(UTC).date()
            mark_ready()
            while True:
                if (today := datetime.now(UTC).date()) != day:
                    await make_partitions(database, datetime.now(UTC))
                    day = today
                entries = await self._left_behind() or await self._next()
                if entries:
                    await self._record(database, entries)

    async def _left_behind(self) -> list[Entry]:
        """What a recorder took and never finished."""
        claimed: Any = await self._redis.xautoclaim(
            STREAM, GROUP, self._consumer, min_idle_time=CLAIM_AFTER_MS, count=BATCH_ENTRIES
        )
        return [(key, fields) for key, fields in claimed[1] if fields]

    async def _next(self) -> list[Entry]:
        taken: Any = await self._redis.xreadgroup(
            GROUP, self._consumer, {STREAM: ">"}, count=BATCH_ENTRIES, block=BLOCK_MS
        )
        if not taken:
            return []
        streams = taken.items() if isinstance(taken, dict) else taken
        return [entry for _, entries in streams for entry in (entries[0] if isinstance(taken, dict) else entries)]

    async def _record(self, database: AsyncConnection[Any], entries: list[Entry]) -> None:
        records: list[InferenceRecord] = []
        for key, fields in entries:
            try:
                records += decode_batch(fields[b"records"])
            except (KeyError, msgspec.MsgspecError) as error:
                logger.error("an unreadable batch is set aside", extra={"entry": key.decode(), "error": str(error)})
                await self._redis.xadd(DEAD, {"records": fields.get(b"records", b"")}, maxlen=1_000)
        await write(database, records)
        keys = [key for key, _ in entries]
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xack(STREAM, GROUP, *keys)
            pipeline.xdel(STREAM, *keys)
            await pipeline.execute()


async def write(database: AsyncConnection[Any], records: Iterable[InferenceRecord]) -> None:
    """Insert the records that aren't there yet, in one transaction."""
    async with database.transaction(), database.cursor() as cursor:
        await cursor.execute(_STAGE)
        async with cursor.copy(_COPY) as copy:
            for record in records:
                await copy.write_row(_row(record))
        await cursor.execute(_INSERT)


async def make_partitions(database: AsyncConnection[Any], now: datetime) -> None:
    """Today's partition and those of the next days, so that the default one stays empty."""
    for ahead in range(DAYS_AHEAD + 1):
        day = now.date() + timedelta(days=ahead)
        async with database.transaction():
            await database.execute(
                f"CREATE TABLE IF NOT EXISTS inference_requests_{day:%Y%m%d} PARTITION OF inference_requests "
                f"FOR VALUES FROM ('{day}') TO ('{day + timedelta(days=1)}')"
            )


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
    )


def _text(value: str | None) -> str | None:
    """PostgreSQL's text can't hold NUL, which a client may well send."""
    return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


async def serve(settings: Settings) -> None:
    redis = Redis.from_url(settings.redis.url.get_secret_value())
    url = settings.postgres.url.get_secret_value().replace("postgresql+psycopg://", "postgresql://")
    task = asyncio.create_task(Recorder(redis, url).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await redis.aclose()


def main() -> None:
    configure_logging("recorder")
    try:
        settings = load(Settings)
    except SettingsError as error:
        sys.exit(str(error))
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
