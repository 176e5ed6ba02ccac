"""Models, their versions, and which serves where."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.domain.recording import SAMPLE_RATE, RecordFeatures
from hotswap.domain.vocabulary import Environment, Framework, ModelType, VersionStatus
from hotswap.persistence.tables.base import Base, Now


class Model(Base):
    __tablename__ = "models"

    model_id: Mapped[str] = mapped_column(primary_key=True)
    team: Mapped[str | None]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str | None]
    framework: Mapped[Framework]
    type: Mapped[ModelType]
    owner: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    is_idempotent: Mapped[bool] = mapped_column(server_default=text("true"))
    """True if asking it twice does no more than asking it once: then a candidate's failure falls back to the stable."""
    monitoring: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    """The monitoring of it once it serves (`MonitoringConfig`)."""
    record_features: Mapped[RecordFeatures] = mapped_column(server_default=RecordFeatures.ALL)
    record_sample_rate: Mapped[float] = mapped_column(server_default=text(str(SAMPLE_RATE)))
    drop_fields: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    active_version: Mapped[str | None]
    """Production's, as in the seed; `active_versions` has every environment's, with history."""
    is_archived: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    updated_at: Mapped[datetime] = mapped_column(server_default=Now)


class ModelVersion(Base):
    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model_id", "version"),)

    version_id: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"))
    version: Mapped[str]
    framework: Mapped[Framework]
    artifact_path: Mapped[str]
    checksum: Mapped[str]
    artifact_size_bytes: Mapped[int]
    input_schema: Mapped[dict[str, Any]]
    output_schema: Mapped[dict[str, Any]]
    training: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    baseline: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    reference_distribution: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    requirements: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    status: Mapped[VersionStatus] = mapped_column(server_default="Registered")
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]
    is_deprecated: Mapped[bool] = mapped_column(server_default=text("false"))
    deprecation: Mapped[str | None]
    """The reason why it is deprecated."""
    card: Mapped[str | None]
    """The text that people write about it, in Markdown."""
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class VersionParent(Base):
    """A parent of a version, which was fine-tuned from it, distilled from it, or put together from several."""

    __tablename__ = "version_parents"

    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"), primary_key=True)
    parent_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"), primary_key=True, index=True)


class VersionAlias(Base):
    """A name, such as `champion`, that is one version's of a model until it is given to another."""

    __tablename__ = "version_aliases"

    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"))


class ValidationOverride(Base):
    """Checks of a version's validation that an Admin overrode, until the Admin takes that back."""

    __tablename__ = "validation_overrides"

    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"), primary_key=True)
    checks: Mapped[list[str]]
    reason: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class ActiveVersion(Base):
    """An active version, or a past one: `until` is null while it is active."""

    __tablename__ = "active_versions"
    __table_args__ = (
        Index("uq_active_versions_now", "environment", "model_id", unique=True, postgresql_where=text("until IS NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"))
    environment: Mapped[Environment]
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"))
    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"))
    application: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=Now)
    until: Mapped[datetime | None]
