"""Add what a fallback to the stable needs: whether a model may be asked twice, and a mark for rescued requests."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("models", sa.Column("is_idempotent", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("inference_requests", sa.Column("fallback_from", sa.Text(), nullable=True))
