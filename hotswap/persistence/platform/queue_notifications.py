"""PostgreSQL's NOTIFY, which wakes all that wait for a turn or a slot; implements `hotswap.ports.QueueNotifications`.

A notification says only that something has changed, never what: the listener reads the rows. So a notification that
arrives twice costs one poll, and one that is lost (on a broken connection) costs the seconds until the next poll.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

CHANNEL = "hotswap_queue"
AGAIN_SECONDS = 1.0

logger = logging.getLogger(__name__)


async def notify_queue(session: AsyncSession) -> None:
    """Notify when the transaction commits; a transaction that is rolled back notifies nobody."""
    await session.execute(select(func.pg_notify(CHANNEL, "")))


class PostgresQueueNotifications:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def listening(self, heard: Callable[[], None]) -> AsyncIterator[None]:
        """Call `heard` inside the block at each notification, and whenever notifications may have been lost."""
        listener = asyncio.create_task(self._listen(heard))
        try:
            yield
        finally:
            listener.cancel()
            with suppress(asyncio.CancelledError):
                await listener

    async def _listen(self, heard: Callable[[], None]) -> None:
        while True:
            try:
                await self._hear(heard)
            except (SQLAlchemyError, psycopg.Error, OSError) as error:
                logger.warning("can't hear who ends; those who wait look by themselves", extra={"error": str(error)})
            await asyncio.sleep(AGAIN_SECONDS)

    async def _hear(self, heard: Callable[[], None]) -> None:
        async with self._engine.connect() as connection:
            try:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                await connection.exec_driver_sql(f"LISTEN {CHANNEL}")
                heard()
                driver = (await connection.get_raw_connection()).driver_connection
                assert isinstance(driver, psycopg.AsyncConnection)
                async for _ in driver.notifies():
                    heard()
            finally:
                # It must not go back to the pool: it would listen on, for nobody.
                await connection.invalidate()
