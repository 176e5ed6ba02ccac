"""Where all in this process wait that wait for the same thing: one look for all of them, and no polling by each.

Somebody looks (at a ring of the bell, when another comes in, and every five seconds in any case) and tells each what he
saw of it. What goes wrong with a look goes wrong for all who wait, so that Temporal tries each again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Generic, TypeVar

from hotswap.ports import Bell

LOOK_AGAIN_SECONDS = 5.0

Seen = TypeVar("Seen")

Look = Callable[[Collection[str]], Awaitable[Mapping[str, Seen]]]


class _Seat(Generic[Seen]):
    """One that waits, and what was seen of it last."""

    def __init__(self, who: str) -> None:
        self.who = who
        self._told = asyncio.Event()
        self._seen: list[Seen] = []
        self._problem: Exception | None = None

    def tell(self, seen: Seen) -> None:
        self._seen = [seen]
        self._told.set()

    def fail(self, problem: Exception) -> None:
        self._problem = problem
        self._told.set()

    async def news(self) -> Seen:
        await self._told.wait()
        self._told.clear()
        if self._problem is not None:
            raise self._problem
        return self._seen[0]


class WaitingRoom(Generic[Seen]):
    def __init__(self, bell: Bell, look: Look[Seen], *, look_again_seconds: float = LOOK_AGAIN_SECONDS) -> None:
        self._bell = bell
        self._look = look
        self._look_again_seconds = look_again_seconds
        self._seats: set[_Seat[Seen]] = set()
        self._called = asyncio.Event()
        self._attendant: asyncio.Task[None] | None = None

    async def wait(self, who: str, *, until: Callable[[Seen], bool]) -> Seen:
        """Return what was seen of it as soon as `until` says so, which is asked after each look."""
        seat: _Seat[Seen] = _Seat(who)
        self._seats.add(seat)
        self._attend()
        try:
            while not until(seen := await seat.news()):
                pass
            return seen
        finally:
            self._seats.discard(seat)
            if not self._seats:
                self._called.set()

    def _attend(self) -> None:
        self._called.set()
        if self._attendant is None:
            self._attendant = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        try:
            await self._look_round()
            await asyncio.sleep(0)  # whoever need not wait leaves, and so most who come cost no listening
            async with AsyncExitStack() as listening:
                if self._seats:
                    await listening.enter_async_context(self._bell.listening(self._called.set))
                while self._seats:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._look_again_seconds):
                            await self._called.wait()
                    await self._look_round()
        except Exception as problem:  # noqa: BLE001 - told by each who waits
            seats, self._seats = self._seats, set()
            for seat in seats:
                seat.fail(problem)
        finally:
            self._attendant = None
        if self._seats:  # somebody came in while the last one left
            self._attend()

    async def _look_round(self) -> None:
        self._called.clear()
        if not self._seats:
            return
        seen = await self._look({seat.who for seat in self._seats})
        for seat in self._seats:
            if seat.who in seen:
                seat.tell(seen[seat.who])
