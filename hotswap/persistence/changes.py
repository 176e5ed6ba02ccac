"""One change of something at a time, in all processes: what was looked at before is still so while it is changed."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from hotswap.persistence import advisory
from hotswap.persistence.database import Sessions

LONGEST = "30s"
"""A process that froze while it changed something loses the lock then."""


class PostgresChanges:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._here: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def alone(self, what: str) -> AsyncIterator[None]:
        """Until the end of the block nobody else is within one of the same name.

        Who waits in this process holds no connection meanwhile: those are for who works.
        """
        async with self._here[what], self._sessions.begin() as session:
            await session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST}'"))
            await advisory.take_named(session, what)
            yield
