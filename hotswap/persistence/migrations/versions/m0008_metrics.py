"""Figures of a model over any time: roll-ups of its records, and what the proxies counted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("inference_requests", sa.Column("entity", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_inference_requests_application_requested_at", "inference_requests", ["application", "requested_at"]
    )
    op.create_table(
        "record_rollups",
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("arm", sa.Text(), nullable=False),
        sa.Column("width_seconds", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("latency_sum", sa.Double(), nullable=False),
        sa.Column("latency", JSONB(), nullable=False),
        sa.Column("confidence_count", sa.BigInteger(), nullable=False),
        sa.Column("confidence_sum", sa.Double(), nullable=False),
        sa.Column("confidence_squares", sa.Double(), nullable=False),
        sa.Column("prediction_count", sa.BigInteger(), nullable=False),
        sa.Column("prediction_sum", sa.Double(), nullable=False),
        sa.Column("prediction_squares", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("application", "arm", "width_seconds", "at", name="pk_record_rollups"),
    )
    op.create_index(
        "ix_record_rollups_model_name_environment_width_seconds_at",
        "record_rollups",
        ["model_name", "environment", "width_seconds", "at"],
    )
    op.create_index("ix_record_rollups_width_seconds_at", "record_rollups", ["width_seconds", "at"])
    op.create_table(
        "proxy_counts",
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counts", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("application", "at", name="pk_proxy_counts"),
    )
    op.create_table(
        "proxy_marks",
        sa.Column("proxy", sa.Text(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("counts", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("proxy", "application", name="pk_proxy_marks"),
    )
