"""Ships a node's spools to the Redis stream: one process per node, `python -m serving.shipper`.

At least once: where it is in a spool is written down only after Redis has acknowledged, and the recorder drops what it
has seen. When the stream is long it waits, so that a dead recorder fills the bounded spools and never Redis.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hotswap.records import STREAM, encode_batch
from hotswap.settings import SettingsError, ShipperSettings, load
from hotswap.telemetry import configure_logging, mark_ready
from serving.spool import FRAME, CorruptFrame, frames, has_writer, segments

POLL_SECONDS = 0.1
RETRY_SECONDS = 1.0
BATCH_BYTES = 256 * 1024
LONGEST_STREAM = 2_000
"""Entries; each has up to 256 KiB, so Redis holds at most some 500 MB of records."""
OFFSET = "offset"

logger = logging.getLogger(__name__)


class Position(msgspec.Struct):
    """Up to where a spool has been shipped: a segment's name, and the bytes of it."""

    segment: str = ""
    offset: int = 0


class Shipper:
    def __init__(self, directory: Path, redis: Redis) -> None:
        self._directory = directory
        self._redis = redis
        self._positions: dict[Path, Position] = {}

    async def run(self) -> None:
        while True:
            try:
                shipped = await self.ship_all()
                await asyncio.sleep(0 if shipped else POLL_SECONDS)
            except (RedisError, OSError) as error:
                logger.warning("records wait in the spools", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)

    async def ship_all(self) -> int:
        """One batch of every spool; how many records that was."""
        total = 0
        for spool in sorted(self._directory.glob("*/*")):
            if spool.name.startswith(".") or not spool.is_dir():
                continue
            # Asked before reading: what a writer leaves behind when it dies is whole by then.
            alive = has_writer(spool)
            shipped = await self._ship(spool)
            total += shipped
            # What was set aside as corrupt waits for a person.
            if not alive and shipped == 0 and not any(spool.glob("*.corrupt")):
                self._remove(spool)
        return total

    async def _ship(self, spool: Path) -> int:
        position = self._positions.get(spool) or _read_position(spool)
        for path in segments(spool):
            if path.name < position.segment:
                path.unlink()
                continue
            offset = position.offset if path.name == position.segment else 0
            batch, size = self._read(path, offset)
            if not batch:
                continue
            await self._send(batch)
            position = Position(path.name, offset + size)
            _write_position(spool, position)
            self._positions[spool] = position
            return len(batch)
        return 0

    def _read(self, path: Path, offset: int) -> tuple[list[msgspec.Raw], int]:
        """Whole records from an offset, and how many bytes they take with their frames."""
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(BATCH_BYTES)
            batch: list[msgspec.Raw] = []
            size = 0
            try:
                if len(data) >= FRAME.size and FRAME.unpack_from(data)[0] + FRAME.size > len(data):
                    data += file.read(FRAME.unpack_from(data)[0])
                for record in frames(data):
                    batch.append(msgspec.Raw(record))
                    size += FRAME.size + len(record)
            except CorruptFrame:
                if not batch:
                    logger.error("a corrupt segment is set aside", extra={"segment": str(path), "offset": offset})
                    path.rename(path.with_suffix(".corrupt"))
            return batch, size

    async def _send(self, batch: list[msgspec.Raw]) -> None:
        while await self._redis.xlen(STREAM) >= LONGEST_STREAM:  # noqa: ASYNC110 - Redis has no event for it
            await asyncio.sleep(POLL_SECONDS)
        await self._redis.xadd(STREAM, {"records": encode_batch(batch)})

    def _remove(self, spool: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            dropped = (spool / "dropped").read_text() or "0"
            logger.info("a spool is empty and its replica gone", extra={"spool": str(spool), "dropped": dropped})
        shutil.rmtree(spool, ignore_errors=True)
        self._positions.pop(spool, None)


def _read_position(spool: Path) -> Position:
    try:
        return msgspec.json.decode((spool / OFFSET).read_bytes(), type=Position)
    except (FileNotFoundError, msgspec.DecodeError):
        return Position()


def _write_position(spool: Path, position: Position) -> None:
    unnamed = spool / f".{OFFSET}"
    unnamed.write_bytes(msgspec.json.encode(position))
    unnamed.rename(spool / OFFSET)


async def serve(settings: ShipperSettings) -> None:
    settings.serving.spool_dir.mkdir(parents=True, exist_ok=True)
    redis = Redis.from_url(settings.redis.url.get_secret_value())
    task = asyncio.create_task(Shipper(settings.serving.spool_dir, redis).run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    mark_ready()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await redis.aclose()


def main() -> None:
    configure_logging("shipper")
    try:
        settings = load(ShipperSettings)
    except SettingsError as error:
        logger.error("%s", error)
        sys.exit(os.EX_CONFIG)
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
