"""What a real PostgreSQL does to a session, and which of it is Unavailable to the caller of an adapter."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DataError, ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from hotswap.domain.errors import Unavailable
from hotswap.persistence.platform.changes import PostgresChanges
from hotswap.persistence.platform.database import Sessions

SELECT = text("SELECT 1")

CUT_HOLDERS = text("""
    SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
    WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


async def cut(sessions: Sessions, session: AsyncSession) -> None:
    """End the connection of a session, as PostgreSQL does when it shuts down."""
    pid = await session.scalar(text("SELECT pg_backend_pid()"))
    async with sessions() as other:
        await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})


async def test_a_connection_that_is_cut_within_a_transaction(sessions: Sessions) -> None:
    async def cut_and_go_on() -> None:
        async with sessions.begin() as session:
            await cut(sessions, session)
            await session.execute(SELECT)

    with pytest.raises(Unavailable, match="the database doesn't answer"):
        await cut_and_go_on()
    async with sessions.begin() as session:
        assert await session.scalar(SELECT) == 1


async def test_a_connection_that_is_cut_before_the_commit(sessions: Sessions) -> None:
    with pytest.raises(Unavailable):
        async with sessions.begin() as session:
            await cut(sessions, session)


async def test_a_connection_that_is_cut_while_a_lock_is_held(sessions: Sessions) -> None:
    changes = PostgresChanges(sessions, at_once=1)
    with pytest.raises(Unavailable):
        async with changes.alone("fraud"), sessions() as other:
            await other.execute(CUT_HOLDERS)
    async with changes.alone("fraud"):
        pass


@pytest.mark.parametrize(("limit", "statement"), [("statement", "SELECT pg_sleep(5)"), ("lock", "LOCK TABLE models")])
async def test_a_statement_that_is_given_up(sessions: Sessions, limit: str, statement: str) -> None:
    async def try_it() -> None:
        async with sessions.begin() as session:
            await session.execute(text(f"SET LOCAL {limit}_timeout = '10ms'"))
            await session.execute(text(statement))

    async with sessions.begin() as holder:
        await holder.execute(text("LOCK TABLE models"))
        with pytest.raises(Unavailable):
            await try_it()


@pytest.fixture
async def only_one(postgres_url: str) -> AsyncIterator[Sessions]:
    """Sessions of a pool with one connection, for which nobody waits long."""
    engine = create_async_engine(postgres_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    yield Sessions(engine)
    await engine.dispose()


async def test_a_pool_without_a_free_connection(only_one: Sessions) -> None:
    async with only_one() as first:
        await first.execute(SELECT)
        with pytest.raises(Unavailable):
            async with only_one() as second:
                await second.execute(SELECT)


@pytest.mark.parametrize(
    ("statement", "error"), [("SELECT nothing_of_this_name", ProgrammingError), ("SELECT 1 / 0", DataError)]
)
async def test_a_bug_stays_what_it_is(sessions: Sessions, statement: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        async with sessions.begin() as session:
            await session.execute(text(statement))
