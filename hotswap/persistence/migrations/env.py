"""Alembic's entry: online with the connection that `migrate` hands over, or `alembic upgrade head --sql` for psql."""

import os

from alembic import context
from sqlalchemy import create_engine, pool

from hotswap.persistence.tables import Base


def run(**options: object) -> None:
    context.configure(target_metadata=Base.metadata, **options)  # type: ignore[arg-type]
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run(dialect_name="postgresql", literal_binds=True, dialect_opts={"paramstyle": "named"})
elif (given := context.config.attributes.get("connection")) is not None:
    run(connection=given)
else:
    with create_engine(os.environ["HOTSWAP_POSTGRES__URL"], poolclass=pool.NullPool).connect() as own:
        run(connection=own)
