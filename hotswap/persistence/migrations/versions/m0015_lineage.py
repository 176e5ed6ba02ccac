"""Add the versions that a version was made from."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "version_parents",
        sa.Column("version_id", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.version_id"], name="fk_version_parents_version_id_model_versions"
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["model_versions.version_id"], name="fk_version_parents_parent_id_model_versions"
        ),
        sa.PrimaryKeyConstraint("version_id", "parent_id", name="pk_version_parents"),
    )
    op.create_index("ix_version_parents_parent_id", "version_parents", ["parent_id"])
