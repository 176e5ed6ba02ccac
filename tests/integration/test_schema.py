"""The migrations make what the tables say, and as a script for psql what they make themselves."""

import io
import re
import subprocess
import sys
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from hotswap.persistence.migrations import migrate, write_script
from hotswap.persistence.tables import Base
from tests.fixtures.documents import ROOT
from tests.fixtures.postgres import TEMPLATE, PostgresServer


async def test_the_migrations_make_what_the_tables_say(postgres_url: str) -> None:
    before, after = migrate(postgres_url)
    assert before == after
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert [each for each in differences if "inference_requests_default" not in str(each)] == []


async def test_psql_makes_the_same_of_the_script_as_the_migrations(postgres_server: PostgresServer) -> None:
    """Written in a checkout, as the operations page says, where no database is known."""
    alembic = Path(sys.executable).with_name("alembic")
    script = subprocess.run(
        [alembic, "upgrade", "head", "--sql"], cwd=ROOT, env={}, capture_output=True, text=True, check=True
    ).stdout
    postgres_server.execute("CREATE DATABASE by_script")
    postgres_server.run("psql", "-v", "ON_ERROR_STOP=1", "-q", "-d", database="by_script", stdin=script)
    assert dump(postgres_server, "by_script") == dump(postgres_server, TEMPLATE)
    ours = io.StringIO()
    write_script(ours)
    assert ours.getvalue() == script


async def test_psql_can_bring_an_older_schema_up_too(postgres_server: PostgresServer) -> None:
    whole, rest = io.StringIO(), io.StringIO()
    write_script(whole)
    write_script(rest, since="0009")
    older, _, _ = whole.getvalue().partition("-- Running upgrade 0009 -> ")
    postgres_server.execute("CREATE DATABASE by_two_scripts")
    for script in (f"{older}COMMIT;", rest.getvalue()):
        postgres_server.run("psql", "-v", "ON_ERROR_STOP=1", "-q", "-d", database="by_two_scripts", stdin=script)
    assert dump(postgres_server, "by_two_scripts") == dump(postgres_server, TEMPLATE)


NEW_EACH_TIME = (
    r"^\\(un)?restrict .*$",  # the word that shields one dump from another
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",  # the installation's id, at the end of its row
)


def dump(server: PostgresServer, database: str) -> str:
    """Schema and rows, without what is new each time."""
    return re.sub("|".join(NEW_EACH_TIME), "", server.run("pg_dump", "-d", database=database), flags=re.MULTILINE)
