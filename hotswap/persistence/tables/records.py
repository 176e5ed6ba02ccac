"""Records of answers, and their sums: by the replicas' records, and by the proxies' counts."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.persistence.tables.base import Base


class InferenceRequest(Base):
    """One row per answered request and attempt; partitioned by day of `requested_at`."""

    __tablename__ = "inference_requests"
    __table_args__ = (
        Index("ix_inference_requests_model_name_requested_at", "model_name", text("requested_at DESC")),
        Index("ix_inference_requests_request_id", "request_id"),
        Index("ix_inference_requests_application_requested_at", "application", "requested_at"),
        {"postgresql_partition_by": "RANGE (requested_at)"},
    )

    requested_at: Mapped[datetime] = mapped_column(primary_key=True)
    record_id: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str]
    environment: Mapped[str]
    model_name: Mapped[str]
    version: Mapped[str]
    deployment_id: Mapped[str]
    application: Mapped[str]
    arm: Mapped[str]
    fallback_from: Mapped[str | None]
    """The candidate's version that failed this request, where the stable answered in its place."""
    chosen_by: Mapped[str] = mapped_column(server_default="weight")
    """The way in which that arm was chosen: by `weight`; or by the request itself, by `version` or as a `tester`."""
    attempt: Mapped[int]
    is_batch: Mapped[bool]
    instances: Mapped[int]
    features: Mapped[str]
    prediction: Mapped[str | None]
    confidence: Mapped[float | None]
    latency_ms: Mapped[float]
    status: Mapped[str]
    error: Mapped[str | None]
    completed_at: Mapped[datetime]
    entity: Mapped[int | None]
    """The caller, as a salted hash: the same caller has the same one, and nobody can tell which it is."""
    form: Mapped[str | None]
    """The form of the request: `instance`, `batch` or `tensors`; null if its replica didn't say."""
    tensors: Mapped[str | None]
    """The tensors of a request, as JSON: the name, datatype and shape of each, and the outputs that it named."""
    withheld: Mapped[str | None]
    """The reason why the features, or some of them, are not there (`hotswap.domain.recording.Withheld`)."""


class RecordRollup(Base):
    """Sums of the records of one application and arm, by the second, the minute and the hour.

    Written in the transaction that inserts the records (`hotswap/persistence/records/rollups.py`).
    """

    __tablename__ = "record_rollups"
    __table_args__ = (
        Index(
            "ix_record_rollups_model_name_environment_width_seconds_at",
            "model_name",
            "environment",
            "width_seconds",
            "at",
        ),
        Index("ix_record_rollups_width_seconds_at", "width_seconds", "at"),
    )

    application: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(primary_key=True)
    width_seconds: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    environment: Mapped[str]
    model_name: Mapped[str]
    version: Mapped[str]
    requests: Mapped[int]
    failures: Mapped[int]
    refused: Mapped[int]
    """The count of mistakes of the request, not of the model."""
    latency_sum: Mapped[float]
    latency: Mapped[dict[str, Any]]
    """A DDSketch's bins: how many took how long, in milliseconds to within 1%."""
    confidence_count: Mapped[int]
    confidence_sum: Mapped[float]
    confidence_squares: Mapped[float]
    prediction_count: Mapped[int]
    prediction_sum: Mapped[float]
    prediction_squares: Mapped[float]


class ProxyCount(Base):
    """The count of all proxies' answers for an application by then; a row wherever it grew."""

    __tablename__ = "proxy_counts"

    application: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    counts: Mapped[dict[str, Any]]


class ProxyMark(Base):
    """The last count of each proxy, from which its growth is told."""

    __tablename__ = "proxy_marks"

    proxy: Mapped[str] = mapped_column(primary_key=True)
    application: Mapped[str] = mapped_column(primary_key=True)
    counts: Mapped[dict[str, Any]]
