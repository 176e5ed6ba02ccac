"""Add whether a deployment may narrow what clients of the version before it rely on."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column(
        "deployments",
        sa.Column("accept_contract_change", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
