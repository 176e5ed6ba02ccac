"""What analyses saw and said."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ForeignKey,
    Identity,
    Index,
)
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.persistence.tables.base import Base, Now


class AnalysisResult(Base):
    """The newest verdict of one analysis of one step; one that is analysed again has another `begun_at` (Unix time)."""

    __tablename__ = "analysis_results"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    begun_at: Mapped[float] = mapped_column(primary_key=True)
    weight: Mapped[int]
    reference: Mapped[dict[str, Any] | None]
    """The stable's counts from before, where nothing ran beside the candidate any more."""
    verdict: Mapped[dict[str, Any]]
    judged_at: Mapped[datetime] = mapped_column(server_default=Now)


class AnalysisLook(Base):
    """What an analysis saw at one time: what its verdicts were made on, and what judges the deployment again."""

    __tablename__ = "analysis_looks"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    begun_at: Mapped[float] = mapped_column(primary_key=True)
    at: Mapped[float] = mapped_column(primary_key=True)
    look: Mapped[dict[str, Any]]


class DriftReport(Base):
    """How far an active version's features were from their reference; `distance` is null where that can't be told."""

    __tablename__ = "drift_reports"
    __table_args__ = (Index("ix_drift_reports_model_id_environment_at", "model_id", "environment", "at"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"))
    environment: Mapped[str]
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"))
    at: Mapped[datetime] = mapped_column(server_default=Now)
    since: Mapped[datetime]
    reference: Mapped[str]
    samples: Mapped[int]
    distance: Mapped[float | None]
    is_drifted: Mapped[bool | None]
    message: Mapped[str]
    features: Mapped[dict[str, Any]]
