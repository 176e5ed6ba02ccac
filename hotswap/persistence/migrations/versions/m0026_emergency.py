"""Add the reason why a deployment skips its bakes."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("deployments", sa.Column("emergency", sa.Text(), nullable=True))
