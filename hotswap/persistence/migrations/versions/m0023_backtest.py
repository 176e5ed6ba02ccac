"""Add the form of each recorded request, so that it can be sent again, and the result of a deployment's backtest."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("inference_requests", sa.Column("form", sa.Text(), nullable=True))
    op.add_column("inference_requests", sa.Column("tensors", sa.Text(), nullable=True))
    op.add_column("deployments", sa.Column("backtest", JSONB(), nullable=True))
