"""Which record of the API's own an approval rests on."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("proof", sa.Text(), nullable=True))
