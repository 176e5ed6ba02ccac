"""From spool to stream: every whole record arrives, whatever dies in between."""

import asyncio
import errno
import json
import multiprocessing
import os
import signal
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from hotswap.inference.records import STREAM, decode_record, split_batch
from hotswap.process.lifetime import until_terminated
from serving import shipper, spool
from serving.shipper import Shipper
from serving.spool import FRAME, SpoolWriter, segments
from tests.fixtures.patience import patient
from tests.fixtures.records import encoded
from tests.fixtures.valkey import ValkeyServer, entries


def record(number: int) -> bytes:
    return encoded(str(number))


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last)]


async def shipped(redis: Redis) -> list[str]:
    found = await entries(redis, STREAM)
    return [decode_record(each).record_id for fields in found for each in split_batch(fields[b"records"])]


async def ship_until_empty(shipping: Shipper) -> None:
    while await shipping.ship_all():
        pass


def unreadable_bytes(directory: Path) -> int:
    return int(json.loads((directory / shipper.OFFSET).read_text())["unreadable_bytes"])


@pytest.fixture
async def redis(own_valkey: ValkeyServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_valkey.url) as client:
        yield client


def shipper_of(directory: Path, redis: Redis, *, stream_max_bytes: int = 10**8) -> Shipper:
    return Shipper(directory, redis, stream_max_bytes=stream_max_bytes)


def open_spool(tmp_path: Path) -> tuple[SpoolWriter, Path]:
    writer = SpoolWriter(tmp_path, application="app", max_bytes=10**7)
    (directory,) = [path for path in (tmp_path / "app").iterdir() if path.name.startswith(f"{os.getpid()}-")]
    return writer, directory


def write_and_die(directory: Path) -> None:
    """A replica that is killed in the middle of a write."""
    writer = SpoolWriter(directory, application="app", max_bytes=10**7)
    for number in range(10):
        writer.write(record(number))
    os.write(writer._segment, b"\0\0\1\0torn")
    os.kill(os.getpid(), signal.SIGKILL)


async def dead_spool(tmp_path: Path) -> Path:
    process = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(tmp_path,))
    process.start()
    await asyncio.to_thread(process.join)
    assert process.exitcode == -signal.SIGKILL
    (directory,) = (tmp_path / "app").iterdir()
    return directory


async def test_records_are_shipped_once_in_their_order_and_across_segments(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 2_000)
    monkeypatch.setattr(shipper, "BATCH_BYTES", 700)
    writer, directory = open_spool(tmp_path)
    shipping = shipper_of(tmp_path, redis)
    for number in range(30):
        writer.write(record(number))
    await ship_until_empty(shipping)
    assert await shipped(redis) == numbers(0, 30)
    for number in range(30, 40):
        writer.write(record(number))
    await ship_until_empty(shipper_of(tmp_path, redis))
    assert await shipped(redis) == numbers(0, 40), "a shipper that starts again goes on where the last one was"
    assert len(segments(directory)) <= 2, "what is shipped is removed"


async def test_a_record_larger_than_a_batch_is_shipped(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "BATCH_BYTES", 20)
    writer, _ = open_spool(tmp_path)
    for number in range(3):
        writer.write(record(number))
    await ship_until_empty(shipper_of(tmp_path, redis))
    assert await shipped(redis) == numbers(0, 3)


async def test_a_frame_that_is_still_being_written_waits(tmp_path: Path, redis: Redis) -> None:
    writer, directory = open_spool(tmp_path)
    writer.write(record(0))
    whole = segments(directory)[0].read_bytes()
    shipping = shipper_of(tmp_path, redis)
    with segments(directory)[0].open("ab", buffering=0) as file:
        file.write(whole[:50])
        await ship_until_empty(shipping)
        assert await shipped(redis) == ["0"]
        file.write(whole[50:])
    await ship_until_empty(shipping)
    assert await shipped(redis) == ["0", "0"]


async def test_nothing_is_lost_while_redis_is_away(
    tmp_path: Path, redis: Redis, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "RETRY_SECONDS", 0.05)
    writer, _ = open_spool(tmp_path)
    running = asyncio.create_task(until_terminated(shipper_of(tmp_path, redis).run))
    try:
        writer.write(record(0))
        async with asyncio.timeout(patient(20)):
            while await shipped(redis) != ["0"]:
                await asyncio.sleep(0.02)
        own_valkey.kill()
        for number in range(1, 20):
            writer.write(record(number))
        await asyncio.sleep(0.2)
        assert not running.done()
        await own_valkey.start()
        async with Redis.from_url(own_valkey.url) as again, asyncio.timeout(patient(20)):
            while await shipped(again) != numbers(1, 20):
                await asyncio.sleep(0.02)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait([running])


@asynccontextmanager
async def running(shipping: Shipper) -> AsyncIterator[None]:
    task = asyncio.create_task(shipping.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until_shipped(redis: Redis, count: int) -> None:
    async with asyncio.timeout(patient(10)):
        while await shipped(redis) != numbers(0, count):
            await asyncio.sleep(0.02)


async def test_what_streams_in_is_shipped_in_batches(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "POLL_SECONDS", 0.2)
    writer, _ = open_spool(tmp_path)

    def stream() -> None:
        for number in range(400):
            writer.write(record(number))
            time.sleep(0.001)

    async with running(shipper_of(tmp_path, redis)):
        begun = time.monotonic()
        await asyncio.to_thread(stream)
        await until_shipped(redis, 400)
        rounds = (time.monotonic() - begun) / shipper.POLL_SECONDS
    assert await redis.xlen(STREAM) <= rounds + 1, "each entry costs Redis a sync and PostgreSQL a transaction"


async def test_a_shipper_that_is_behind_does_not_pause(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "POLL_SECONDS", 60)
    monkeypatch.setattr(shipper, "BATCH_BYTES", 700)
    writer, _ = open_spool(tmp_path)
    for number in range(40):
        writer.write(record(number))
    async with running(shipper_of(tmp_path, redis)):
        await until_shipped(redis, 40)


async def test_a_dead_replicas_spool_is_emptied_and_then_removed(tmp_path: Path, redis: Redis) -> None:
    dead = await dead_spool(tmp_path)
    _, live = open_spool(tmp_path)
    shipping = shipper_of(tmp_path, redis)
    await shipping.ship_all()
    assert dead.exists(), "removed only when a look at it after its death finds nothing"
    await ship_until_empty(shipping)
    assert await shipped(redis) == numbers(0, 10)
    assert not dead.exists()
    assert live.exists(), "a live replica's empty spool is its own"


async def test_a_dead_replicas_spool_stays_while_redis_is_away(
    tmp_path: Path, redis: Redis, own_valkey: ValkeyServer
) -> None:
    dead = await dead_spool(tmp_path)
    own_valkey.kill()
    for _ in range(2):
        with pytest.raises(RedisError):
            await shipper_of(tmp_path, redis).ship_all()
    await own_valkey.start()
    await ship_until_empty(shipper_of(tmp_path, redis))
    assert await shipped(redis) == numbers(0, 10)
    assert not dead.exists()


def damage(segment: Path, number: int, how: str) -> int:
    """Spoil one record in its place, as a disk does; how many bytes its frame has."""
    frame = len(record(number)) + FRAME.size
    at = sum(len(record(each)) + FRAME.size for each in range(number))
    length_at = at + FRAME.size - 8
    with segment.open("r+b") as file:
        match how:
            case "content":
                file.seek(at + FRAME.size + 5)
                file.write(b"\xff\xff")
            case "short length":
                file.seek(length_at)
                file.write(struct.pack(">I", 3))
            case "long length":
                file.seek(length_at)
                file.write(struct.pack(">I", 3 * frame))
            case "endless length":
                file.seek(length_at)
                file.write(struct.pack(">I", 2**31))
            case "zeros":
                file.seek(at)
                file.write(bytes(frame))
    return frame


DAMAGE = ["content", "short length", "long length", "endless length", "zeros"]


@pytest.mark.parametrize("how", DAMAGE)
async def test_a_live_replica_keeps_its_segment_and_loses_only_the_record_that_is_damaged(
    tmp_path: Path, redis: Redis, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    writer, directory = open_spool(tmp_path)
    for number in range(6):
        writer.write(record(number))
    [segment] = segments(directory)
    lost = damage(segment, 2, how)
    shipping = shipper_of(tmp_path, redis)
    await ship_until_empty(shipping)
    for number in range(6, 9):
        writer.write(record(number))
    await ship_until_empty(shipping)
    assert await shipped(redis) == [*numbers(0, 2), *numbers(3, 9)]
    assert segments(directory) == [segment], "the writer appends to it: it is the writer's"
    [told] = [entry for entry in caplog.records if "can't be read" in entry.message]
    assert (vars(told)["segment"], vars(told)["bytes"]) == (str(segment), lost)
    assert unreadable_bytes(directory) == lost
    await ship_until_empty(shipper_of(tmp_path, redis))
    assert unreadable_bytes(directory) == lost, "what was counted is not counted again"


@pytest.mark.parametrize("how", DAMAGE)
async def test_after_damage_at_a_segments_end_comes_the_next_segment(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 2 * (len(record(0)) + FRAME.size))
    writer, directory = open_spool(tmp_path)
    for number in range(4):
        writer.write(record(number))
    damage(segments(directory)[0], 1, how)
    await ship_until_empty(shipper_of(tmp_path, redis))
    assert await shipped(redis) == ["0", "2", "3"]
    assert len(segments(directory)) == 1


async def test_the_newest_record_of_a_live_replica_may_still_be_in_the_making(tmp_path: Path, redis: Redis) -> None:
    writer, directory = open_spool(tmp_path)
    for number in range(2):
        writer.write(record(number))
    lost = damage(segments(directory)[0], 1, "endless length")
    shipping = shipper_of(tmp_path, redis)
    await ship_until_empty(shipping)
    assert (await shipped(redis), unreadable_bytes(directory)) == (["0"], 0)
    writer.write(record(2))
    await ship_until_empty(shipping)
    assert (await shipped(redis), unreadable_bytes(directory)) == (["0", "2"], lost)


async def test_damage_of_a_dead_replica_is_counted_and_goes_with_its_spool(
    tmp_path: Path, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    writer, directory = open_spool(tmp_path)
    for number in range(3):
        writer.write(record(number))
    lost = damage(segments(directory)[0], 2, "content")
    writer.write(b"x" * 10**8)
    os.close(writer._lock)  # the replica is gone
    await ship_until_empty(shipper_of(tmp_path, redis))
    assert await shipped(redis) == ["0", "1"]
    assert not directory.exists()
    last = caplog.records[-1]
    assert (vars(last)["dropped"], vars(last)["unreadable_bytes"]) == (1, lost)


async def test_a_segment_that_the_disk_refuses_stops_no_other_replicas_records(
    tmp_path: Path, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    broken, good = (SpoolWriter(tmp_path, application=name, max_bytes=10**7) for name in ("a-broken", "b-good"))
    [spoiled] = segments(next((tmp_path / "a-broken").iterdir()))
    spoiled.unlink()
    spoiled.mkdir()
    good.write(record(0))
    await ship_until_empty(shipper_of(tmp_path, redis))
    assert await shipped(redis) == ["0"]
    assert str(spoiled) in "".join(str(vars(entry).get("error")) for entry in caplog.records)
    assert broken.write(record(1))


async def test_what_a_full_spool_drops_is_told(tmp_path: Path, redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    writer = SpoolWriter(tmp_path, application="app", max_bytes=2 * (len(record(0)) + FRAME.size))
    shipping = shipper_of(tmp_path, redis)
    assert [writer.write(record(number)) for number in range(4)] == [True, True, False, False]
    for _ in range(3):
        await shipping.ship_all()
    [told] = [entry for entry in caplog.records if "full" in entry.message]
    assert vars(told)["dropped"] == 2
    await asyncio.sleep(0.15)  # it looks at most ten times a second whether there is room again
    assert writer.write(record(4)), "a spool that is smaller than a segment empties as well"
    await ship_until_empty(shipping)
    assert await shipped(redis) == ["0", "1", "4"]


async def test_a_full_disk_stops_no_shipping_and_gets_room_by_it(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", 2_000)
    monkeypatch.setattr(shipper, "BATCH_BYTES", 700)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", path)

    writer, directory = open_spool(tmp_path)
    for number in range(30):
        writer.write(record(number))
    with monkeypatch.context() as disk:
        disk.setattr(shipper, "write_atomically", full)
        await ship_until_empty(shipping := shipper_of(tmp_path, redis))
        assert await shipped(redis) == numbers(0, 30), "each once"
        await ship_until_empty(shipping)
        assert len(segments(directory)) <= 2, "what is shipped is removed"
    writer.write(record(30))
    await ship_until_empty(shipping)
    await ship_until_empty(shipper_of(tmp_path, redis))
    assert await shipped(redis) == numbers(0, 31)
