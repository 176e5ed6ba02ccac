"""Applications as rows, and the one lease under which they are written to Ray Serve."""

import asyncio

import pytest

from hotswap.persistence import applications
from hotswap.persistence.applications import PostgresApplications
from hotswap.persistence.database import Sessions
from tests.fixtures.rows import (
    spec,
)


async def test_what_is_set_aside_is_left_out(sessions: Sessions) -> None:
    desired = PostgresApplications(sessions)
    for name in ("b", "a", "a"):
        await desired.add(spec(name))
    await desired.set_aside("b", "it makes the PUT fail")
    assert await desired.all() == [spec("a")]
    await desired.remove("a")
    assert await desired.all() == []


async def test_the_lease_has_one_holder_and_a_late_one_learns_that_it_lost(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired = PostgresApplications(sessions)
    async with desired.writer_lease("first") as lease:
        assert 12 < await lease.remaining() <= 15
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), desired.writer_lease("second"):
                pass
    monkeypatch.setattr(applications, "LEASE_SECONDS", 0)
    async with desired.writer_lease("frozen") as lost:
        await asyncio.sleep(0.05)
        async with desired.writer_lease("quicker"):
            assert await lost.remaining() == 0
