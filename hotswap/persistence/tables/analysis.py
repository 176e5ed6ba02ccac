"""Observations and verdicts of analyses."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Identity,
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.domain.monitoring import AlertKind
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.tables.base import Base, Now


class AnalysisResult(Base):
    """The newest verdict of one analysis of one step; one that is analyzed again has another `begun_at` (Unix time)."""

    __tablename__ = "analysis_results"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    begun_at: Mapped[float] = mapped_column(primary_key=True)
    weight: Mapped[int]
    reference: Mapped[dict[str, Any] | None]
    """The stable's counts from before, where nothing ran beside the candidate any more."""
    verdict: Mapped[dict[str, Any]]
    judged_at: Mapped[datetime] = mapped_column(server_default=Now)
    thinned: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if only one of its observations a minute is left."""


class AnalysisObservation(Base):
    """An observation of an analysis: its verdicts were made on it, and a replay judges it again."""

    __tablename__ = "analysis_looks"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    begun_at: Mapped[float] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(primary_key=True)
    look: Mapped[dict[str, Any]]


class AnalysisCheckpoint(Base):
    """A checkpoint of a watch: the observations up to `at`, folded; a restarted watch goes on from there."""

    __tablename__ = "analysis_checkpoints"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    begun_at: Mapped[float] = mapped_column(primary_key=True)
    at: Mapped[float]
    judges: Mapped[bytes]
    answered: Mapped[dict[str, Any]]
    """The count of each proxy by then, and the answers since the analysis began."""


class DriftReport(Base):
    """The distance of an active version's features from their reference; `distance` is null if it isn't known."""

    __tablename__ = "drift_reports"
    __table_args__ = (Index("ix_drift_reports_model_id_environment_at", "model_id", "environment", "at"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"))
    environment: Mapped[Environment]
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"))
    at: Mapped[datetime] = mapped_column(server_default=Now)
    since: Mapped[datetime]
    reference: Mapped[str]
    samples: Mapped[int]
    distance: Mapped[float | None]
    is_drifted: Mapped[bool | None]
    message: Mapped[str]
    features: Mapped[dict[str, Any]]


class AlertRow(Base):
    """An alert about an active version; one of a kind is open for an application until `resolved_at`."""

    __tablename__ = "alerts"
    __table_args__ = (
        Index("uq_alerts_open", "application", "kind", unique=True, postgresql_where=text("resolved_at IS NULL")),
        Index("ix_alerts_model_id_at", "model_id", "at"),
        Index("ix_alerts_untold", "at", postgresql_where=text("told_at IS NULL")),
    )

    alert_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[AlertKind]
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"))
    environment: Mapped[Environment]
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"))
    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"))
    application: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=Now)
    since: Mapped[datetime]
    message: Mapped[str]
    numbers: Mapped[dict[str, Any]]
    rolls_back: Mapped[bool]
    rollback_id: Mapped[str | None]
    """The deployment that takes the version back, once it was asked for."""
    told_at: Mapped[datetime | None]
    """The start of its announcements; each of them is then a workflow's affair."""
    resolved_at: Mapped[datetime | None]
    resolution: Mapped[str | None]
