"""Add the reason why a version is deprecated."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("model_versions", sa.Column("deprecation", sa.Text(), nullable=True))
