"""The stream of records is bounded by its bytes: a shipper waits where it is full, and loses nothing."""

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from hotswap.inference.records import STREAM
from serving import shipper
from tests.fixtures.patience import patient
from tests.fixtures.records import encoded
from tests.integration.test_shipper import open_spool, record, redis, ship_until_empty, shipped, shipper_of

__all__ = ["redis"]


async def test_a_full_stream_is_waited_for(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shipper, "MEASURE_SECONDS", 0.0)
    writer, _ = open_spool(tmp_path)
    shipping = shipper_of(tmp_path, redis, stream_max_bytes=1_000)
    writer.write(encoded("0", features="x" * 2_000))
    await shipping.ship_all()
    writer.write(record(1))
    waiting = asyncio.create_task(shipping.ship_all())
    await asyncio.sleep(0.25)
    assert not waiting.done()
    assert [each.getMessage() for each in caplog.records] == ["the stream is full; records wait in the spools"]
    await redis.xtrim(STREAM, maxlen=0)
    assert await asyncio.wait_for(waiting, patient(20)) == 1
    assert await shipped(redis) == ["1"]


async def test_a_stream_is_bounded_by_bytes_whatever_is_in_it(
    tmp_path: Path, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small entries first: Redis would take the others to be as small, if it measured a few."""
    monkeypatch.setattr(shipper, "BATCH_BYTES", 50_000)
    for number in range(100):
        await redis.xadd(STREAM, {"records": str(number)})
    writer, _ = open_spool(tmp_path)
    for number in range(100):
        writer.write(encoded(str(number), features="x" * 40_000))
    shipping = shipper_of(tmp_path, redis, stream_max_bytes=1_000_000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(patient(2)):
            await ship_until_empty(shipping)
    used = await redis.memory_usage(STREAM, samples=0)
    assert used is not None
    assert 1_000_000 <= used < 1_150_000


async def test_many_small_entries_are_no_reason_to_wait(tmp_path: Path, redis: Redis) -> None:
    for number in range(5_000):
        await redis.xadd(STREAM, {"records": str(number)})
    writer, _ = open_spool(tmp_path)
    writer.write(record(0))
    assert await shipper_of(tmp_path, redis).ship_all() == 1
