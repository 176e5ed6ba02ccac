"""Add how the arm that answered a request was chosen: a request that chose it itself says nothing of a version."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("inference_requests", sa.Column("chosen_by", sa.Text(), server_default="weight", nullable=False))
