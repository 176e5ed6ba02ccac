"""One poll for all who wait: each notification reaches all of them, and nobody is forgotten."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection

import pytest

from activities.shared_poll import SharedPoll
from tests.fixtures.patience import patient


class Notifications:
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

    def notify(self) -> None:
        assert self.heard is not None, "nobody listens"
        self.heard()


class Callers:
    """Return as soon as the test lets them, and count the polls."""

    def __init__(self, notifications: Notifications, *, poll_seconds: float = 3_600) -> None:
        self.open_for: set[str] = set()
        self.polls: list[set[str]] = []
        self.broken = False
        self.shared_poll: SharedPoll[bool] = SharedPoll(notifications, self._poll, poll_seconds=poll_seconds)

    async def _poll(self, who: Collection[str]) -> dict[str, bool]:
        self.polls.append(set(who))
        await asyncio.sleep(0)
        if self.broken:
            raise ConnectionError("the database is away")
        return {each: each in self.open_for for each in who}

    def wait(self, who: str) -> "asyncio.Task[bool]":
        return asyncio.create_task(self.shared_poll.wait(who, until=bool))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_hundred_callers_wait_with_one_poll_for_each_notification() -> None:
    notifications = Notifications()
    callers = Callers(notifications)
    waiting = [callers.wait(str(number)) for number in range(100)]
    await settled()
    polls = len(callers.polls)
    assert callers.polls[-1] == {str(number) for number in range(100)}
    callers.open_for = {"7"}
    notifications.notify()
    await settled()
    assert len(callers.polls) == polls + 1
    assert [number for number, task in enumerate(waiting) if task.done()] == [7]
    callers.open_for = {str(number) for number in range(100)}
    notifications.notify()
    assert await asyncio.gather(*waiting) == [True] * 100
    await settled()
    assert (notifications.heard, notifications.listened) == (None, 1)


async def test_a_caller_that_need_not_wait_costs_one_poll_and_no_listening() -> None:
    notifications = Notifications()
    callers = Callers(notifications)
    callers.open_for = {"a", "b"}
    assert [*await asyncio.gather(callers.wait("a"), callers.wait("b"))] == [True, True]
    await settled()
    assert (callers.polls, notifications.listened) == ([{"a", "b"}], 0)


async def test_a_lost_notification_costs_the_time_until_the_next_poll() -> None:
    callers = Callers(Notifications(), poll_seconds=0.05)
    waiting = callers.wait("a")
    await settled()
    callers.open_for = {"a"}
    assert await asyncio.wait_for(waiting, patient(20))


async def test_a_caller_that_comes_as_the_last_one_leaves_is_polled_for() -> None:
    notifications = Notifications()
    callers = Callers(notifications)
    callers.open_for = {"a"}
    first = callers.wait("a")
    while not first.done():
        await asyncio.sleep(0)
    second = callers.wait("b")
    await settled()
    callers.open_for = {"b"}
    notifications.notify()
    assert await asyncio.wait_for(second, patient(20))


async def test_a_poll_that_fails_fails_all_callers_that_wait_and_none_that_come_later() -> None:
    callers = Callers(Notifications())
    callers.broken = True
    waiting = [callers.wait("a"), callers.wait("b")]
    assert all(isinstance(each, ConnectionError) for each in await asyncio.gather(*waiting, return_exceptions=True))
    callers.broken, callers.open_for = False, {"a"}
    assert await asyncio.wait_for(callers.wait("a"), patient(20))


async def test_a_caller_that_gives_up_is_not_polled_for_any_more() -> None:
    notifications = Notifications()
    callers = Callers(notifications)
    one, other = callers.wait("a"), callers.wait("b")
    await settled()
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    notifications.notify()
    await settled()
    assert callers.polls[-1] == {"b"}
    other.cancel()
