"""One change of something at a time, in all processes: what was looked at before is still so while it is changed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from sqlalchemy import select, text

from hotswap.persistence.platform import advisory
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.reading import names
from hotswap.persistence.tables import Model

LONGEST = "30s"
"""A process that froze while it changed something loses the lock then."""


class PostgresChanges:
    """A lock is a transaction of its own, which stays open while its holder changes things by other connections.

    So at most `at_once` are held in this process: fewer than its pool has connections, or all could be held by holders
    that wait for another one.
    """

    def __init__(self, sessions: Sessions, *, at_once: int) -> None:
        self._sessions = sessions
        self._room = asyncio.Semaphore(at_once)
        self._here: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def name_of(self, model: str) -> str:
        """Return the one name of a model that may be named by its id too; what is no model stays as it is."""
        async with self._sessions() as session:
            return await session.scalar(select(Model.name).where(names(model))) or model

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        """Hold the name exclusively until the end of the block.

        A caller that waits in this process for another holder uses no connection meanwhile: those are for callers that
        work.
        """
        lock = self._here.setdefault(what, asyncio.Lock())
        async with lock, self._room, self._sessions.begin() as session:
            await session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST}'"))
            await advisory.take_named(session, what)
            yield
