"""Add what the records of a model's requests keep of the features, and why a record doesn't have them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("models", sa.Column("record_features", sa.Text(), server_default="all", nullable=False))
    op.add_column("models", sa.Column("record_sample_rate", sa.Float(), server_default=sa.text("0.1"), nullable=False))
    op.add_column("models", sa.Column("drop_fields", JSONB(), server_default=sa.text("'[]'"), nullable=False))
    op.add_column("inference_requests", sa.Column("withheld", sa.Text(), nullable=True))
