"""Why a deployment skips its bakes, where it does."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("deployments", sa.Column("emergency", sa.Text(), nullable=True))
