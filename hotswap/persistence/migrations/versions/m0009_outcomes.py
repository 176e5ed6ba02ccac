"""Add outcomes of predictions, and sums of their scores."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "outcomes",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("observed_at", moment, nullable=True),
        sa.Column("reported_by", sa.Text(), nullable=False),
        sa.Column("received_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", moment, server_default=sa.text("now()"), nullable=True),
        sa.Column("application", sa.Text(), nullable=True),
        sa.Column("requested_at", moment, nullable=True),
        sa.Column("predicted", sa.Text(), nullable=True),
        sa.Column("counted", sa.Text(), nullable=True),
        sa.Column("error", sa.Double(), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("is_number", sa.Boolean(), nullable=True),
        sa.Column("is_compared", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_outcomes"),
    )
    op.create_index("ix_outcomes_due", "outcomes", ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("ix_outcomes_received_at", "outcomes", ["received_at"])
    op.create_index(
        "ix_outcomes_compared",
        "outcomes",
        ["application", "requested_at"],
        postgresql_include=["is_number", "score"],
        postgresql_where=sa.text("is_compared"),
    )
    op.create_table(
        "outcome_rollups",
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("width_seconds", sa.BigInteger(), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
            for name in ("labels", "correct", "numbers")
        ),
        *(
            sa.Column(name, sa.Double(), server_default=sa.text("0"), nullable=False)
            for name in ("absolute", "squared")
        ),
        sa.Column("confusion", JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("application", "width_seconds", "at", name="pk_outcome_rollups"),
    )
    op.create_index(
        "ix_outcome_rollups_model_environment_at", "outcome_rollups", ["model", "environment", "width_seconds", "at"]
    )
    op.create_index("ix_outcome_rollups_width_seconds_at", "outcome_rollups", ["width_seconds", "at"])
