"""Add the API's own record on which an approval rests."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("proof", sa.Text(), nullable=True))
