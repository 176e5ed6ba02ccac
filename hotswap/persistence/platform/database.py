"""Engine and sessions for PostgreSQL, built once per process at its composition root."""

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from hotswap.settings import PostgresSettings

SESSION = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "5s",
    "client_connection_check_interval": "1s",
}

Sessions = async_sessionmaker[AsyncSession]


def create_engine(settings: PostgresSettings) -> AsyncEngine:
    """Create the engine. Connections are checked before use, so a database that restarted costs no request an error.

    A query of a killed client, and a lock of a frozen one, end within seconds: both would hold the rows of all
    deployments.
    """
    return create_async_engine(
        settings.url.get_secret_value(),
        pool_size=settings.pool_size,
        max_overflow=settings.pool_size,
        pool_pre_ping=True,
        hide_parameters=True,  # features and answers must not be in an error's text, which is logged
        connect_args={
            "connect_timeout": 5,
            "options": " ".join(f"-c {name}={value}" for name, value in SESSION.items()),
        },
    )


def create_sessions(engine: AsyncEngine) -> Sessions:
    return async_sessionmaker(engine, expire_on_commit=False)
