"""Add checkpoints, from which a restarted watch goes on, and whether an analysis' observations were thinned."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column(
        "analysis_results", sa.Column("thinned", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.create_table(
        "analysis_checkpoints",
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("judges", sa.LargeBinary(), nullable=False),
        sa.Column("answered", JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.deployment_id"],
            name="fk_analysis_checkpoints_deployment_id_deployments",
        ),
        sa.PrimaryKeyConstraint("deployment_id", "step", "begun_at", name="pk_analysis_checkpoints"),
    )
