"""The application's role and database, and the migrations."""

import os

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from hotswap.bootstrap.layout import ADMIN_URL
from hotswap.persistence.migrations import migrate


def run() -> None:
    """Make the role and its database where they are missing, set its password, migrate. It owns nothing else."""
    url = os.environ["HOTSWAP_POSTGRES__URL"]
    wanted = make_url(url)
    role, name = sql.Identifier(wanted.username or ""), sql.Identifier(wanted.database or "")
    with psycopg.connect(os.environ[ADMIN_URL], autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [wanted.username]).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        # Encrypted here, so that the server's log can't have it.
        password = connection.pgconn.encrypt_password(
            str(wanted.password).encode(), str(wanted.username).encode(), b"scram-sha-256"
        )
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password.decode())))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [wanted.database]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))
    migrate(url)
