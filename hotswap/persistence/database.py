"""Engine and sessions for PostgreSQL, built once per process at its composition root."""

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from hotswap.settings import PostgresSettings

Sessions = async_sessionmaker[AsyncSession]


def create_engine(settings: PostgresSettings) -> AsyncEngine:
    """Connections are checked before use, so a database that restarted costs no request an error."""
    return create_async_engine(
        settings.url.get_secret_value(),
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_pre_ping=True,
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=30000 -c lock_timeout=10000"},
    )


def create_sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False)
