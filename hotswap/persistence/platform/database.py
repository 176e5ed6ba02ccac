"""Engine and sessions for PostgreSQL, built once per process at its composition root.

Every adapter gets its sessions from `Sessions`, so that this is the one place where an error of the library becomes
`Unavailable`.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from hotswap.domain.errors import Unavailable
from hotswap.process.way_back import is_on_the_way_back
from hotswap.settings import PostgresSettings

SESSION = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    "client_connection_check_interval": "1s",
}

logger = logging.getLogger(__name__)


class Sessions:
    """Makes a session for each block; work on the way back gets it from the connections that are kept for it.

    A block raises `Unavailable` where PostgreSQL is away, cuts the connection, has none left, or gives up a statement.
    Every other error of SQLAlchemy shows a bug or a value that PostgreSQL refuses, and propagates as it is.
    """

    def __init__(self, engine: AsyncEngine, *, way_back: AsyncEngine | None = None) -> None:
        """Set up; without `way_back` there is one pool for everything."""
        self.engine = engine
        self._engines = (engine,) if way_back is None else (engine, way_back)
        self._makers = [async_sessionmaker(each, expire_on_commit=False) for each in self._engines]

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[AsyncSession]:
        """Give a session for reading; nothing is committed."""
        with _answering():
            async with self._maker() as session:
                yield session

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """Give a session in a transaction, which is committed at the end of the block."""
        with _answering():
            async with self._maker.begin() as session:
                yield session

    @property
    def _maker(self) -> async_sessionmaker[AsyncSession]:
        return self._makers[-1 if is_on_the_way_back() else 0]

    async def aclose(self) -> None:
        """Close all connections."""
        for each in self._engines:
            await each.dispose()


def create_sessions(settings: PostgresSettings) -> Sessions:
    """Create the sessions of a process that takes part in the way back, with a pool of connections for that alone."""
    way_back = create_engine(settings, pool_size=settings.way_back_pool_size)
    return Sessions(create_engine(settings), way_back=way_back)


def create_engine(settings: PostgresSettings, *, pool_size: int | None = None) -> AsyncEngine:
    """Create an engine with its own pool of connections, of the settings' size if no other is given.

    Connections are checked before use, so a database that restarted costs no request an error. A query of a killed
    client, and a lock of a frozen one, end within seconds: both would hold the rows of all deployments.
    """
    pool_size = pool_size or settings.pool_size
    return create_async_engine(
        settings.url.get_secret_value(),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,  # features and answers must not be in an error's text, which is logged
        connect_args={
            "connect_timeout": 5,
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
        },
    )


async def clock(session: AsyncSession) -> datetime:
    """Return PostgreSQL's time now, not that of the transaction's begin, which may have waited for a lock since."""
    now: datetime | None = await session.scalar(select(func.clock_timestamp()))
    assert now is not None
    return now


@contextmanager
def _answering() -> Iterator[None]:
    """Raise Unavailable where trying again may help.

    It has no cause, since Temporal writes causes into its history and SQLAlchemy's text holds the statement. The log
    has that text.
    """
    try:
        yield
    except SQLAlchemyError as error:
        if not _is_away(error):
            raise
        logger.warning("PostgreSQL can't be used", extra={"error": str(error)[:500]})
        raise Unavailable(
            "the database doesn't answer; inference goes on without it, so try again in a moment"
        ) from None


def _is_away(error: SQLAlchemyError) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout)
