"""Add the monitoring of a model once it serves, and its alerts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("models", sa.Column("monitoring", JSONB(), server_default=sa.text("'{}'"), nullable=False))
    op.create_table(
        "alerts",
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("version_id", sa.Text(), nullable=False),
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("application", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("numbers", JSONB(), nullable=False),
        sa.Column("rolls_back", sa.Boolean(), nullable=False),
        sa.Column("rollback_id", sa.Text(), nullable=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.deployment_id"], name="fk_alerts_deployment_id_deployments"
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.model_id"], name="fk_alerts_model_id_models"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.version_id"], name="fk_alerts_version_id_model_versions"
        ),
        sa.PrimaryKeyConstraint("alert_id", name="pk_alerts"),
    )
    still_open = sa.text("resolved_at IS NULL")
    op.create_index("uq_alerts_open", "alerts", ["application", "kind"], unique=True, postgresql_where=still_open)
    op.create_index("ix_alerts_model_id_at", "alerts", ["model_id", "at"])
    op.create_index("ix_alerts_untold", "alerts", ["at"], postgresql_where=sa.text("told_at IS NULL"))
