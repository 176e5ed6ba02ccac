"""How each recorded request was spelled, so that it can be asked again, and what a deployment's backtest found."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("inference_requests", sa.Column("form", sa.Text(), nullable=True))
    op.add_column("inference_requests", sa.Column("tensors", sa.Text(), nullable=True))
    op.add_column("deployments", sa.Column("backtest", JSONB(), nullable=True))
