"""Artifacts on their way in and out: uploads that were begun, and what garbage collection has removed."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.persistence.tables.base import Base, Now


class UploadRow(Base):
    """One content that somebody sends for a model: asked for again, it is the same upload."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("model", "sha256", "begun_by"),)

    upload_id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str]
    """Its name: the model itself may come with its first version."""
    sha256: Mapped[str]
    """The sha256 as claimed; the registration checks it."""
    size_bytes: Mapped[int]
    artifact_path: Mapped[str]
    s3_upload_id: Mapped[str | None]
    begun_by: Mapped[str]
    begun_at: Mapped[datetime] = mapped_column(server_default=Now)
    completed_at: Mapped[datetime | None]


class RemovedArtifact(Base):
    """An artifact that is being removed, or was: a registration that read it before must not refer to it any more."""

    __tablename__ = "removed_artifacts"

    artifact_path: Mapped[str] = mapped_column(primary_key=True)
    removed_at: Mapped[datetime] = mapped_column(server_default=Now)
    removed_by: Mapped[str]
