"""One poll of the database for all callers of a process that wait for the same kind of thing.

A single task polls for all of them: at each notification, when another caller starts to wait, and every five seconds in
any case. It hands each caller its newest state. An error of a poll is raised in every caller, and Temporal then retries
each caller's activity.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Generic, TypeVar

from hotswap.ports import QueueNotifications

POLL_SECONDS = 5.0

State = TypeVar("State")

Poll = Callable[[Collection[str]], Awaitable[Mapping[str, State]]]


class _Waiter(Generic[State]):
    """One caller that waits, and the newest state that was polled for its key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._updated = asyncio.Event()
        self._states: list[State] = []
        self._error: Exception | None = None

    def update(self, state: State) -> None:
        self._states = [state]
        self._updated.set()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._updated.set()

    async def next_state(self) -> State:
        await self._updated.wait()
        self._updated.clear()
        if self._error is not None:
            raise self._error
        return self._states[0]


class SharedPoll(Generic[State]):
    """Polls states by their keys, once for all callers of `wait`."""

    def __init__(
        self, notifications: QueueNotifications, poll: Poll[State], *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._notifications = notifications
        self._poll = poll
        self._poll_seconds = poll_seconds
        self._waiters: set[_Waiter[State]] = set()
        self._wake_up = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    async def wait(self, key: str, *, until: Callable[[State], bool]) -> State:
        """Return the state of `key` as soon as `until` accepts it; `until` is called after each poll."""
        waiter: _Waiter[State] = _Waiter(key)
        self._waiters.add(waiter)
        self._ensure_polling()
        try:
            while not until(state := await waiter.next_state()):
                pass
            return state
        finally:
            self._waiters.discard(waiter)
            if not self._waiters:
                self._wake_up.set()

    def _ensure_polling(self) -> None:
        self._wake_up.set()
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll_while_waited_for())

    async def _poll_while_waited_for(self) -> None:
        try:
            await self._poll_once()
            await asyncio.sleep(0)  # a caller that need not wait leaves here, so most callers never start to listen
            async with AsyncExitStack() as listening:
                if self._waiters:
                    await listening.enter_async_context(self._notifications.listening(self._wake_up.set))
                while self._waiters:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._poll_seconds):
                            await self._wake_up.wait()
                    await self._poll_once()
        except Exception as error:  # noqa: BLE001 - every caller that waits raises it
            waiters, self._waiters = self._waiters, set()
            for waiter in waiters:
                waiter.fail(error)
        finally:
            self._poller = None
        if self._waiters:  # a caller started to wait while the last one left
            self._ensure_polling()

    async def _poll_once(self) -> None:
        self._wake_up.clear()
        if not self._waiters:
            return
        states = await self._poll({waiter.key for waiter in self._waiters})
        for waiter in self._waiters:
            if waiter.key in states:
                waiter.update(states[waiter.key])
