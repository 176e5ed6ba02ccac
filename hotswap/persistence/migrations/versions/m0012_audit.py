"""Add the request that led to a change, and an index of audit events by actor."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("audit_events", sa.Column("trace_id", sa.Text(), nullable=True))
    op.create_index("ix_audit_events_actor_id", "audit_events", ["actor", "id"])
    op.create_index("ix_audit_events_trace_id", "audit_events", ["trace_id"])
