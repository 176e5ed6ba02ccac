"""The share of a route that is turned away while its replicas are too few."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("traffic_routes", sa.Column("shed", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
