"""Alembic's entry: online with the connection that `migrate` hands over, or `alembic upgrade head --sql` for psql."""

from alembic import context
from sqlalchemy import create_engine, pool

from hotswap.persistence.platform.advisory import AdvisoryLock
from hotswap.persistence.tables import Base
from hotswap.settings import DatabaseSettings, load


def run(**options: object) -> None:
    context.configure(target_metadata=Base.metadata, **options)  # type: ignore[arg-type]
    with context.begin_transaction():
        # One at a time, by script or not.
        context.execute(f"SELECT pg_advisory_xact_lock({AdvisoryLock.MIGRATIONS.value})")
        context.run_migrations()


if context.is_offline_mode():
    run(dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"})
elif (given := context.config.attributes.get("connection")) is not None:
    run(connection=given)
else:
    url = load(DatabaseSettings).postgres.url.get_secret_value()
    with create_engine(url, poolclass=pool.NullPool).connect() as own:
        run(connection=own)
