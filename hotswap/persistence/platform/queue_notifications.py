"""What wakes those who wait for a turn or a slot: PostgreSQL's NOTIFY. Implements `hotswap.ports.QueueNotifications`.

It says only that something has changed, never what: who hears it looks for himself. So a ring that is heard twice costs
a look, and one that is lost (a connection that broke unseen) costs the seconds until the next look is due anyway.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import psycopg
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

CHANNEL = "hotswap_queue"
AGAIN_SECONDS = 1.0

logger = logging.getLogger(__name__)


async def notify_queue(session: AsyncSession) -> None:
    """Heard when the transaction commits, and not at all when it doesn't."""
    await session.execute(select(func.pg_notify(CHANNEL, "")))


class PostgresQueueNotifications:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def listening(self, heard: Callable[[], None]) -> AsyncIterator[None]:
        """Inside the block `heard` is called at each ring, and whenever rings may have been missed."""
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
            except (DBAPIError, psycopg.Error, OSError) as error:
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
