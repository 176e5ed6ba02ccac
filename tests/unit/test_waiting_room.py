"""The room where many wait: one look for all, at each ring, and nobody forgotten."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection

import pytest

from activities.waiting_room import WaitingRoom
from tests.fixtures.patience import patient


class Bell:
    def __init__(self) -> None:
        self.heard: Callable[[], None] | None = None
        self.listened = 0

    @contextlib.asynccontextmanager
    async def listening(self, heard: Callable[[], None]) -> AsyncIterator[None]:
        self.heard, self.listened = heard, self.listened + 1
        try:
            yield
        finally:
            await asyncio.sleep(0)
            self.heard = None

    def ring(self) -> None:
        assert self.heard is not None, "nobody listens"
        self.heard()


class Door:
    """Lets through whom the test lets through, and counts how often somebody looked."""

    def __init__(self, bell: Bell, *, look_again_seconds: float = 3_600) -> None:
        self.open_for: set[str] = set()
        self.looks: list[set[str]] = []
        self.broken = False
        self.room: WaitingRoom[bool] = WaitingRoom(bell, self._look, look_again_seconds=look_again_seconds)

    async def _look(self, who: Collection[str]) -> dict[str, bool]:
        self.looks.append(set(who))
        await asyncio.sleep(0)
        if self.broken:
            raise ConnectionError("the database is away")
        return {each: each in self.open_for for each in who}

    def wait(self, who: str) -> "asyncio.Task[bool]":
        return asyncio.create_task(self.room.wait(who, until=bool))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_hundred_wait_with_one_look_a_ring() -> None:
    bell = Bell()
    door = Door(bell)
    waiting = [door.wait(str(number)) for number in range(100)]
    await settled()
    looks = len(door.looks)
    assert door.looks[-1] == {str(number) for number in range(100)}
    door.open_for = {"7"}
    bell.ring()
    await settled()
    assert len(door.looks) == looks + 1
    assert [number for number, task in enumerate(waiting) if task.done()] == [7]
    door.open_for = {str(number) for number in range(100)}
    bell.ring()
    assert await asyncio.gather(*waiting) == [True] * 100
    await settled()
    assert (bell.heard, bell.listened) == (None, 1)


async def test_who_need_not_wait_costs_one_look_and_no_listening() -> None:
    bell = Bell()
    door = Door(bell)
    door.open_for = {"a", "b"}
    assert await asyncio.gather(door.wait("a"), door.wait("b")) == [True, True]
    await settled()
    assert (door.looks, bell.listened) == ([{"a", "b"}], 0)


async def test_a_ring_that_is_never_heard_costs_the_time_until_the_next_look() -> None:
    door = Door(Bell(), look_again_seconds=0.05)
    waiting = door.wait("a")
    await settled()
    door.open_for = {"a"}
    assert await asyncio.wait_for(waiting, patient(20))


async def test_who_comes_in_as_the_last_one_leaves_is_looked_after() -> None:
    bell = Bell()
    door = Door(bell)
    door.open_for = {"a"}
    first = door.wait("a")
    while not first.done():
        await asyncio.sleep(0)
    second = door.wait("b")
    await settled()
    door.open_for = {"b"}
    bell.ring()
    assert await asyncio.wait_for(second, patient(20))


async def test_a_look_that_fails_fails_all_who_wait_and_none_who_come_later() -> None:
    door = Door(Bell())
    door.broken = True
    waiting = [door.wait("a"), door.wait("b")]
    assert all(isinstance(each, ConnectionError) for each in await asyncio.gather(*waiting, return_exceptions=True))
    door.broken, door.open_for = False, {"a"}
    assert await asyncio.wait_for(door.wait("a"), patient(20))


async def test_who_gives_up_is_not_looked_for_any_more() -> None:
    bell = Bell()
    door = Door(bell)
    one, other = door.wait("a"), door.wait("b")
    await settled()
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    bell.ring()
    await settled()
    assert door.looks[-1] == {"b"}
    other.cancel()
