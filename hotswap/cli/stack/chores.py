"""Short tasks before and between the parts, each a process of its own: what it imports is gone when it is done.

`database`: the application's role and database, then the migrations. `envoy`: the proxy's bootstrap configuration, and
empty resources where there are none, so that Envoy can start before its agent has ever run. `keys` and `bucket` are for
those who run the parts by other means than `hotswap up`: keys and tokens under `HOTSWAP_DATA_DIR`, and the bucket that
the settings name. Each may be run again.
"""

import os
import sys

from hotswap.telemetry import configure_logging

ADMIN_URL = "HOTSWAP_STACK_ADMIN_URL"


def database() -> None:
    """Role, database, migrations; the role owns its database and nothing else."""
    import psycopg
    from psycopg import sql
    from sqlalchemy import make_url

    from hotswap.persistence.migrations import migrate

    url = os.environ["HOTSWAP_POSTGRES__URL"]
    wanted = make_url(url)
    role, name = sql.Identifier(wanted.username or ""), sql.Identifier(wanted.database or "")
    with psycopg.connect(os.environ[ADMIN_URL], autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [wanted.username]).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        password = connection.pgconn.encrypt_password(
            str(wanted.password).encode(), str(wanted.username).encode(), b"scram-sha-256"
        )  # so that the server's log can't have it
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(password.decode())))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [wanted.database]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))
    migrate(url)


def envoy() -> None:
    """Write the files that Envoy needs to start."""
    from hotswap.settings import TrafficAgentSettings, load
    from serving.envoy import prepare
    from serving.envoy.tls import check_certificate

    settings = load(TrafficAgentSettings)
    check_certificate(settings.gateway)  # Envoy itself would wait for one that it can take, and say nothing
    prepare(settings)


def keys() -> None:
    """Make what is missing of: the key that signs tokens, its public half, the developer's and the agent's tokens."""
    from hotswap.cli.stack import credentials, layout

    place = layout.locate(None)
    layout.create(place)
    credentials.load(place)


def bucket() -> None:
    """Make the bucket for the artifacts where there is none."""
    from hotswap.settings import ReplicaSettings, load
    from hotswap.storage import ObjectStorage

    ObjectStorage(load(ReplicaSettings).storage).ensure_bucket()


CHORES = {"database": database, "envoy": envoy, "keys": keys, "bucket": bucket}


def main() -> None:
    configure_logging("chores")
    CHORES[sys.argv[1]]()


if __name__ == "__main__":
    main()
