"""Add how many replicas each application has now, and needs for all of the traffic."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    for name in ("replicas", "full_replicas"):
        op.add_column("desired_applications", sa.Column(name, sa.BigInteger(), nullable=True))
        op.execute(f"UPDATE desired_applications SET {name} = (spec #>> '{{resources,replicas}}')::bigint")  # noqa: S608
        op.alter_column("desired_applications", name, nullable=False)
    op.add_column(
        "desired_applications", sa.Column("reserved", sa.BigInteger(), server_default=sa.text("0"), nullable=False)
    )
