"""Add the caller to an outcome: callers that keep their arm count once each."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("outcomes", sa.Column("entity", sa.BigInteger(), nullable=True))
    op.drop_index("ix_outcomes_compared", table_name="outcomes")
    op.create_index(
        "ix_outcomes_compared",
        "outcomes",
        ["application", "requested_at"],
        postgresql_include=["is_number", "score", "entity"],
        postgresql_where=sa.text("is_compared"),
    )
