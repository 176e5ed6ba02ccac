"""The schema by migration. A package of its own: only what migrates pays for importing Alembic.

Each migration can also be written down as SQL by somebody who has no database at hand (`alembic upgrade head --sql`),
so none of them may look at one: what depends on rows is said in SQL. tests/integration/test_schema.py holds all to it.
"""

from typing import TextIO

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, pool
from sqlalchemy.exc import OperationalError

from hotswap.domain.errors import Unavailable, ValidationFailed


def migrate(url: str) -> tuple[str | None, str | None]:
    """Bring the database up to the newest schema; two processes may call this at once.

    Returns the revision it had, None for an empty database, and the one it has now. Raises Unavailable with the
    server's reason.
    """
    engine = create_engine(url, poolclass=pool.NullPool)
    try:
        with engine.begin() as connection:
            before = revision_of(connection)
            upgrade(connection, "head")
            return before, revision_of(connection)
    except OperationalError as error:
        raise Unavailable(f"PostgreSQL can't be used: {error.orig}") from None
    finally:
        engine.dispose()


def upgrade(connection: Connection, revision: str) -> None:
    """Bring the schema up to a revision, in the transaction of the connection."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def check_known(revision: str) -> None:
    """Raise ValidationFailed for a revision of the schema that this release doesn't have: a newer one made it."""
    scripts = ScriptDirectory.from_config(_config())
    if revision not in {each.revision for each in scripts.walk_revisions()}:
        raise ValidationFailed(
            f"the schema's revision {revision} is newer than this release knows ({scripts.get_current_head()}), so "
            "nothing was changed; install the release that made it"
        )


def write_script(to: TextIO, *, since: str | None = None) -> None:
    """Write what `migrate` would do to an empty database, or to one of revision `since`, as SQL for psql.

    Raises:
        alembic.util.CommandError: there is no such revision.
    """
    command.upgrade(_config(to), f"{since}:head" if since else "head", sql=True)


def _config(to: TextIO | None = None) -> Config:
    config = Config(output_buffer=to)
    config.set_main_option("script_location", "hotswap:persistence/migrations")
    return config


def revision_of(connection: Connection) -> str | None:
    """Return the schema's revision, None for a database without the schema."""
    return MigrationContext.configure(connection).get_current_revision()
