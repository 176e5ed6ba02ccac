"""Compensation's wait: what interrupts it, and what doesn't."""

import asyncio

import pytest

from workflows.shielding import uninterrupted


async def test_cancels_change_nothing_and_the_work_has_the_last_word() -> None:
    held = asyncio.Event()

    async def work() -> str:
        await held.wait()
        return "undone"

    waiting = asyncio.create_task(uninterrupted(work()))
    for _ in range(2):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()
    held.set()
    assert await waiting == "undone"


async def test_what_the_work_raises_is_raised() -> None:
    async def work() -> None:
        raise LookupError("nothing to undo")

    with pytest.raises(LookupError, match="nothing to undo"):
        await uninterrupted(work())


async def test_an_eviction_ends_the_wait_at_once() -> None:
    """The worker closes a coroutine that it evicts; to it, that has to look like any other."""
    held = asyncio.Event()

    async def work() -> None:
        await held.wait()

    waiting = uninterrupted(work())
    waiting.send(None)
    waiting.close()
    held.set()
    await asyncio.sleep(0)
