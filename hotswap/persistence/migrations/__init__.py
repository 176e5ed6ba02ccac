"""The schema by migration. A package of its own: only what migrates pays for importing Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, pool, text

LOCK = 0x0407_5A4B  # any number that only migrations use


def migrate(url: str) -> None:
    """Bring the database up to the newest schema; two processes may call this at once."""
    config = Config(Path(__file__).parents[1] / "alembic.ini")
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    engine.dispose()
