"""All rows of the database, read in one snapshot, and put back in one transaction.

A backup's rows fit its own revision of the schema. So a restore migrates an empty database to that revision, loads the
rows, and only then migrates to the newest one, which changes the rows as it would have changed them in place. If
anything fails, the transaction is rolled back and the database is as it was.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from graphlib import TopologicalSorter
from typing import IO

import psycopg
from psycopg import sql
from sqlalchemy import Connection, TextClause, create_engine, pool, text
from sqlalchemy.exc import DBAPIError, OperationalError

from hotswap.domain.errors import Conflict, Unavailable, ValidationFailed
from hotswap.persistence.migrations import check_known, revision_of, upgrade
from hotswap.persistence.tables import Base, LeaseRow, PlanGeneration, ProxyReportRow
from hotswap.persistence.traffic.plans import later_lineage

PASSING = frozenset({LeaseRow.__tablename__, ProxyReportRow.__tablename__})
"""Tables of what is true for seconds only: who holds a lease, and what proxies report. No backup has their rows."""

OF_ANY_INSTALLATION = PASSING | {PlanGeneration.__tablename__}
"""Tables that have rows in a new installation too, so these rows don't count as data."""

SESSION = {
    "datestyle": "ISO",
    "extra_float_digits": "1",
    "idle_in_transaction_session_timeout": "0",
    "intervalstyle": "postgres",
    "statement_timeout": "0",
    "timezone": "UTC",
}
"""What rows look like as text must not depend on a role's defaults, and a large table takes its time."""

CHUNK_BYTES = 1024 * 1024
LOCK_TIMEOUT = "10s"
PARTITIONED = "inference_requests"

_TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    AND NOT relispartition ORDER BY relname
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped
    AND attgenerated = '' ORDER BY attnum
"""
_REFERENCES = """
    SELECT DISTINCT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint
    WHERE contype = 'f' AND connamespace = 'public'::regnamespace AND conparentid = 0
"""
_IDENTITIES = """
    SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE attidentity <> '' AND relnamespace = 'public'::regnamespace AND NOT relispartition
"""
_PARTITIONS = """
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = to_regclass(:table) ORDER BY relname
"""
_OTHERS = """
    SELECT DISTINCT usename || coalesce(' at ' || client_addr::text, '') FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename IS NOT NULL
    AND coalesce(backend_type, 'client backend') = 'client backend'
"""
_TRIGGER_FUNCTIONS = """
    SELECT DISTINCT tgfoid::regprocedure::text FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid = ANY(CAST(:tables AS text[])::regclass[])
"""
_DAY = re.compile(rf"{PARTITIONED}_(\d{{8}})")

Rows = tuple[str, tuple[str, ...]]
"""A table, and the columns of its rows in the order in which they were written."""


class Snapshot:
    """One moment of the database; `tables` come in an order in which no row refers to one that comes later."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        revision = revision_of(connection)
        if revision is None:
            raise ValidationFailed(
                "the database has no schema of HotSwap, so there is nothing to back up; check HOTSWAP_POSTGRES__URL"
            )
        self.revision = revision
        known = set(connection.scalars(text(_TABLES))) & Base.metadata.tables.keys() - PASSING
        order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(sorted(known), ()))
        for table, needed in connection.execute(text(_REFERENCES)):
            if table in known and needed in known and table != needed:
                order.add(table, needed)
        self.tables: tuple[Rows, ...] = tuple((table, _columns(connection, table)) for table in order.static_order())
        partitions = connection.scalars(text(_PARTITIONS), {"table": PARTITIONED})
        self.days: tuple[str, ...] = tuple(found[1] for name in partitions if (found := _DAY.fullmatch(name)))

    def copy(self, table: str, columns: Sequence[str], to: IO[bytes]) -> int:
        """Write all rows of a table in PostgreSQL's text format, one on each line, and return how many there are."""
        rows = 0
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(names, sql.Identifier(table))
        with _driver(self._connection).cursor() as cursor, cursor.copy(query) as copied:
            for block in copied:
                content = bytes(block)
                rows += content.count(b"\n")
                to.write(content)
        return rows


@contextmanager
def snapshot(url: str) -> Iterator[Snapshot]:
    """Read the database as it is at one moment, whatever is written meanwhile. Raises Unavailable."""
    with _connected(url) as connection:
        connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with connection.begin():
            yield Snapshot(connection)


def check_restorable(url: str, revision: str, *, replace: bool) -> None:
    """Check that a backup of this revision fits into this database, and change nothing.

    Raises ValidationFailed for a newer schema, and Conflict for a database that has data and is not to be replaced.
    """
    check_known(revision)
    with _connected(url) as connection, connection.begin():
        _check_target(connection, replace=replace)


def restore(
    url: str,
    revision: str,
    tables: Sequence[Rows],
    days: Sequence[str],
    content: Callable[[str], AbstractContextManager[IO[bytes]]],
    *,
    replace: bool,
) -> str:
    """Put a backup's rows into the database, all or nothing, and return the revision that it has then.

    `content` opens the rows of a table. Raises like `check_restorable`, Conflict for a database that anything else is
    connected to, and ValidationFailed for rows that don't fit.
    """
    check_known(revision)
    with _connected(url) as connection, connection.begin():
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        _check_alone(connection)
        _check_target(connection, replace=replace)
        _drop(connection)
        upgrade(connection, revision)
        _make_partitions(connection, days)
        for table, columns in tables:
            _load(connection, table, columns, content)
        for table, column in connection.execute(text(_IDENTITIES)).all():
            _continue_numbers(connection, table, column)
        upgrade(connection, "head")
        connection.execute(later_lineage(after=PlanGeneration.lineage))
        found = revision_of(connection)
        assert found is not None
        return found


def _check_alone(connection: Connection) -> None:
    if others := sorted(connection.scalars(text(_OTHERS))):
        raise Conflict(
            f"the database is in use by {', '.join(others)}, so nothing was changed; stop HotSwap's API, worker and "
            "recorder and whatever else is connected to it, then restore again"
        )


def _check_target(connection: Connection, *, replace: bool) -> None:
    present = revision_of(connection)
    if present is not None:
        check_known(present)
    if replace:
        return
    for table in _present(connection):
        if table not in OF_ANY_INSTALLATION and connection.scalar(_has_rows(table)):
            raise Conflict(
                f"the database has data (rows in {table}), so nothing was changed; restore into an empty database, or "
                "replace all of it with --replace"
            )


def _present(connection: Connection) -> list[str]:
    return [table for table in connection.scalars(text(_TABLES)) if table in Base.metadata.tables]


def _has_rows(table: str) -> TextClause:
    return text(f"SELECT EXISTS (SELECT FROM {table})")  # noqa: S608 - a table of the schema's own


def _drop(connection: Connection) -> None:
    """Drop the tables of HotSwap, with their triggers' functions, and nothing else that is in the database."""
    tables = _present(connection)
    functions = list(connection.scalars(text(_TRIGGER_FUNCTIONS), {"tables": tables}))
    for table in (*tables, "alembic_version"):
        connection.execute(text(f"DROP TABLE IF EXISTS {table} CASCADE"))
    for function in functions:
        connection.execute(text(f"DROP FUNCTION {function}"))


def _make_partitions(connection: Connection, days: Sequence[str]) -> None:
    for day in days:
        begin = datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date()
        name, bounds = (
            f"{PARTITIONED}_{begin:%Y%m%d}",
            f"FROM ('{begin} 00\\:00+00') TO ('{begin + timedelta(days=1)} 00\\:00+00')",
        )
        connection.execute(text(f"CREATE TABLE {name} PARTITION OF {PARTITIONED} FOR VALUES {bounds}"))


def _load(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    content: Callable[[str], AbstractContextManager[IO[bytes]]],
) -> None:
    if unknown := sorted(set(columns) - set(_columns(connection, table))):
        raise ValidationFailed(f"{table} has no column {unknown[0]} in the schema of this backup; nothing was changed")
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    with _driver(connection).cursor() as cursor, content(table) as rows:
        if connection.scalar(_has_rows(table)):  # the migrations inserted them
            cursor.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)) as copying:
            while block := rows.read(CHUNK_BYTES):
                copying.write(block)


def _continue_numbers(connection: Connection, table: str, column: str) -> None:
    """Let new rows get numbers above those of the restored ones."""
    connection.execute(
        text(
            f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), "  # noqa: S608 - names of the schema's own
            f"coalesce((SELECT max({column}) FROM {table}), 0) + 1, false)"
        )
    )


def _columns(connection: Connection, table: str) -> tuple[str, ...]:
    return tuple(connection.scalars(text(_COLUMNS), {"table": table}))


def _driver(connection: Connection) -> psycopg.Connection[tuple[object, ...]]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    options = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    connect_args = {"client_encoding": "utf8", "options": options}
    engine = create_engine(url, poolclass=pool.NullPool, hide_parameters=True, connect_args=connect_args)
    try:
        with engine.connect() as connection:
            yield connection
    except OperationalError as error:
        raise Unavailable(f"PostgreSQL can't be used: {error.orig}") from None
    except psycopg.OperationalError as error:
        raise Unavailable(f"PostgreSQL can't be used: {error}") from None
    except psycopg.Error as error:
        raise ValidationFailed(
            f"the backup's rows don't fit the schema, so nothing was changed: {error.diag.message_primary or error}"
        ) from None
    except DBAPIError as error:
        raise ValidationFailed(f"the backup can't be restored, so nothing was changed: {error.orig}") from None
    finally:
        engine.dispose()
