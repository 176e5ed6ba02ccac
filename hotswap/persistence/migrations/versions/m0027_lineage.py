"""Add the installation's id and the lineage of its traffic plan."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    op.add_column("plan_generation", sa.Column("lineage", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column(
        "plan_generation",
        sa.Column("installation", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
    )
