"""Add the observations of each analysis, and one result for each analysis of a step."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("analysis_results", sa.Column("begun_at", sa.Double(), nullable=True))
    op.add_column("analysis_results", sa.Column("weight", sa.BigInteger(), nullable=True))
    op.add_column("analysis_results", sa.Column("reference", JSONB(), nullable=True))
    op.execute("UPDATE analysis_results SET begun_at = extract(epoch FROM judged_at), weight = 0")
    op.alter_column("analysis_results", "begun_at", nullable=False)
    op.alter_column("analysis_results", "weight", nullable=False)
    op.drop_constraint("pk_analysis_results", "analysis_results")
    op.create_primary_key("pk_analysis_results", "analysis_results", ["deployment_id", "step", "begun_at"])
    op.create_table(
        "analysis_looks",
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("look", JSONB(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"],
            ["deployments.deployment_id"],
            name="fk_analysis_looks_deployment_id_deployments",
        ),
        sa.PrimaryKeyConstraint("deployment_id", "step", "begun_at", "at", name="pk_analysis_looks"),
    )
