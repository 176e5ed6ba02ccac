"""Turns, slots and freezes: who waits, in which order, for what."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("deployments", sa.Column("ticket", sa.BigInteger(), sa.Identity(always=False), nullable=False))
    op.add_column("deployments", sa.Column("start_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("deployments", sa.Column("queued_request", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_index(
        "ix_deployments_unfinished",
        "deployments",
        ["environment", "model_id", "ticket"],
        unique=False,
        postgresql_where=sa.text("status NOT IN ('Active', 'RolledBack', 'Cancelled', 'Failed')"),
    )
    op.create_table(
        "slots",
        sa.Column("deployment_id", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.deployment_id"], name=op.f("fk_slots_deployment_id_deployments")
        ),
        sa.PrimaryKeyConstraint("deployment_id", name=op.f("pk_slots")),
    )
    op.create_table(
        "freezes",
        sa.Column("freeze_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("freeze_id", name=op.f("pk_freezes")),
    )
    op.create_index("ix_freezes_environment", "freezes", ["environment"], unique=False)
