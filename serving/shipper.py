"""Ships a node's spools to the Redis stream: one process per node, `python -m serving.shipper`.

At least once: where it is in a spool is written down only after Redis has acknowledged, and the recorder drops what it
has seen. When the stream is full it waits, so that a dead recorder fills the bounded spools and never Redis. A segment
is its writer's until the next one has been begun or the writer is dead; only then is it removed, never changed. What
can't be read or was dropped is counted and told, and stops nothing.
"""

import asyncio
import logging
import shutil
import time
from pathlib import Path

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hotswap.inference.records import STREAM, encode_batch
from hotswap.process.lifetime import run_service, until_terminated
from hotswap.settings import ShipperSettings
from hotswap.storage.files import write_atomically
from hotswap.telemetry.logs import mark_ready
from serving.spool import SpoolFrames, dropped, has_writer, read_frames, segments

POLL_SECONDS = 0.25
RETRY_SECONDS = 1.0
TELL_SECONDS = 10.0
BATCH_BYTES = 256 * 1024
MEASURE_SECONDS = 1.0
"""Redis takes some 15 ms to measure a stream of 500 MB."""
OFFSET = "offset"

logger = logging.getLogger(__name__)


class Position(msgspec.Struct):
    """Up to where a spool has been shipped: a segment's name, and the bytes of it.

    `unreadable_bytes` were skipped so far: written down with the position, they are counted once.
    """

    segment: str = ""
    offset: int = 0
    unreadable_bytes: int = 0


class Shipper:
    """Ships one node's spools, while the stream has less than `stream_max_bytes`."""

    def __init__(self, directory: Path, redis: Redis, *, stream_max_bytes: int) -> None:
        self._directory = directory
        self._redis = redis
        self._stream_max_bytes = stream_max_bytes
        self._stream_bytes = 0
        self._measured_at = float("-inf")
        self._positions: dict[Path, Position] = {}
        self._dropped: dict[Path, int] = {}
        self._told_at: dict[Path, float] = {}
        self._is_behind = False
        """True if a spool had a full batch, and may have more."""

    async def run(self) -> None:
        while True:
            try:
                await self.ship_all()
                # What comes meanwhile makes one batch: a round costs four processes as much as a dozen records do.
                await asyncio.sleep(0 if self._is_behind else POLL_SECONDS)
            except (RedisError, OSError) as error:
                logger.warning("records wait in the spools", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)

    async def ship_all(self) -> int:
        """Ship one batch of every spool, and return how many records that were."""
        total = 0
        self._is_behind = False
        for spool in sorted(self._directory.glob("*/*")):
            if spool.name.startswith(".") or not spool.is_dir():
                continue
            # Asked before reading: what a writer leaves behind when it dies is whole by then.
            alive = has_writer(spool)
            try:
                shipped = await self._ship(spool, alive=alive)
            except OSError as error:
                self._tell(spool, "a spool can't be shipped; its records wait", error=str(error))
                continue
            self._tell_dropped(spool)
            total += shipped
            if not alive and shipped == 0:
                self._remove(spool)
        return total

    async def _ship(self, spool: Path, *, alive: bool) -> int:
        position = self._positions.get(spool) or _read_position(spool)
        paths = segments(spool)
        for path in paths:
            if path.name < position.segment:
                path.unlink()
                continue
            offset = position.offset if path.name == position.segment else 0
            # A writer that has begun the next segment is done with this one.
            found = _read(path, offset, is_final=not alive or path != paths[-1])
            if found.size == 0:
                continue
            if found.records:
                await self._send([msgspec.Raw(record) for record in found.records])
            if found.unreadable:
                logger.error(
                    "part of a segment can't be read: its records are lost",
                    extra={"segment": str(path), "after": offset, "bytes": found.unreadable},
                )
            position = Position(path.name, offset + found.size, position.unreadable_bytes + found.unreadable)
            self._positions[spool] = position
            try:
                _write_position(spool, position)
            except OSError as error:
                # A full disk. After a restart some records are shipped again, and dropped as known.
                self._tell(spool, "the position in a spool can't be written", error=str(error))
            if found.records:
                self._is_behind |= found.size >= BATCH_BYTES
                return len(found.records)
        return 0

    async def _send(self, batch: list[msgspec.Raw]) -> None:
        entry = encode_batch(batch)
        while (used := await self._measure()) >= self._stream_max_bytes:
            self._tell(self._directory, "the stream is full; records wait in the spools", stream_bytes=used)
            await asyncio.sleep(POLL_SECONDS)  # Redis has no event for it
        await self._redis.xadd(STREAM, {"records": entry})
        self._stream_bytes += len(entry)

    async def _measure(self) -> int:
        """Return the size of the stream, as measured within the last second, with what this has added since."""
        now = time.monotonic()
        if now - self._measured_at > MEASURE_SECONDS:
            # Without `samples` Redis measures the first few entries, and takes the others to be as large.
            self._stream_bytes = await self._redis.memory_usage(STREAM, samples=0) or 0
            self._measured_at = now
        return self._stream_bytes

    def _tell_dropped(self, spool: Path) -> None:
        now = dropped(spool)
        if now > self._dropped.get(spool, 0) and self._tell(spool, "a spool is full and drops records", dropped=now):
            self._dropped[spool] = now

    def _tell(self, spool: Path, message: str, **more: object) -> bool:
        """Warn about a lasting trouble once in a while, and return whether it was logged now."""
        now = time.monotonic()
        if now - self._told_at.get(spool, -TELL_SECONDS) < TELL_SECONDS:
            return False
        self._told_at[spool] = now
        logger.warning(message, extra={"spool": str(spool), **more})
        return True

    def _remove(self, spool: Path) -> None:
        position = self._positions.get(spool) or _read_position(spool)
        lost = {"dropped": dropped(spool), "unreadable_bytes": position.unreadable_bytes}
        level = logging.WARNING if any(lost.values()) else logging.INFO
        logger.log(level, "a spool is empty and its replica gone", extra={"spool": str(spool), **lost})
        shutil.rmtree(spool, ignore_errors=True)
        for known in (self._positions, self._dropped, self._told_at):
            known.pop(spool, None)


def _read(path: Path, offset: int, *, is_final: bool) -> SpoolFrames:
    with path.open("rb") as file:
        file.seek(offset)
        return read_frames(file.read(), is_final=is_final, most_bytes=BATCH_BYTES)


def _read_position(spool: Path) -> Position:
    try:
        return msgspec.json.decode((spool / OFFSET).read_bytes(), type=Position)
    except (FileNotFoundError, msgspec.DecodeError):
        return Position()


def _write_position(spool: Path, position: Position) -> None:
    write_atomically(spool / OFFSET, msgspec.json.encode(position))


async def serve(settings: ShipperSettings) -> None:
    settings.serving.spool_dir.mkdir(parents=True, exist_ok=True)
    redis = Redis.from_url(settings.redis.url.get_secret_value())
    mark_ready()
    shipper = Shipper(settings.serving.spool_dir, redis, stream_max_bytes=settings.redis.records_max_bytes)
    await until_terminated(shipper.run)
    await redis.aclose()


def main() -> None:
    run_service("shipper", ShipperSettings, serve)


if __name__ == "__main__":
    main()
