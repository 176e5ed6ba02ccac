"""The tables. The seed's four keep their names and columns; what HotSwap needs beside them is added.

Written by the repositories beside this file and by nothing else. Times carry their zone, JSON is JSONB, and constraints
have predictable names so that migrations can speak of them.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import Double

from hotswap.domain.lifecycle import DeploymentStatus


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text,
        int: BigInteger,
        float: Double,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: JSONB,
    }


Now = func.now()


class Model(Base):
    __tablename__ = "models"

    model_id: Mapped[str] = mapped_column(primary_key=True)
    team: Mapped[str | None]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str | None]
    framework: Mapped[str]
    type: Mapped[str]
    owner: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    is_idempotent: Mapped[bool] = mapped_column(server_default=text("true"))
    """Whether asking it twice does no more than asking it once: then a candidate's failure falls back to the stable."""
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
    framework: Mapped[str]
    artifact_path: Mapped[str]
    checksum: Mapped[str]
    artifact_size_bytes: Mapped[int]
    input_schema: Mapped[dict[str, Any]]
    output_schema: Mapped[dict[str, Any]]
    training: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    baseline: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    reference_distribution: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    requirements: Mapped[list[str]] = mapped_column(server_default=text("'[]'"))
    status: Mapped[str] = mapped_column(server_default="Registered")
    approved_by: Mapped[str | None]
    approved_at: Mapped[datetime | None]
    is_deprecated: Mapped[bool] = mapped_column(server_default=text("false"))
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


ENDED = tuple(status for status in DeploymentStatus if status.is_terminal)
_ENDED = ", ".join(f"'{status}'" for status in ENDED)


class Deployment(Base):
    __tablename__ = "deployments"
    __table_args__ = (
        Index("ix_deployments_status", "status"),
        Index("ix_deployments_environment", "environment"),
        UniqueConstraint("initiated_by", "idempotency_key"),
        # Invariant 7, also where Temporal is not asked: one deployment under way per model and environment.
        Index(
            "uq_deployments_under_way",
            "environment",
            "model_id",
            unique=True,
            postgresql_where=text(f"status NOT IN ({_ENDED}, 'Pending')"),
        ),
        # Whoever waits looks at these all the time, and the ended ones become many.
        Index(
            "ix_deployments_unfinished",
            "environment",
            "model_id",
            "ticket",
            postgresql_where=text(f"status NOT IN ({_ENDED})"),
        ),
        CheckConstraint("verified_weight BETWEEN 0 AND 10000", name="weight_range"),
    )

    deployment_id: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"))
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"))
    kind: Mapped[str] = mapped_column(server_default="rollout")
    strategy: Mapped[str]
    environment: Mapped[str]
    strategy_config: Mapped[dict[str, Any]]
    resources: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(server_default="Pending")
    reason: Mapped[str | None]
    message: Mapped[str | None]
    progress_percentage: Mapped[int] = mapped_column(server_default=text("0"))
    traffic_percentage: Mapped[int] = mapped_column(server_default=text("0"))
    verified_weight: Mapped[int] = mapped_column(server_default=text("0"))
    verified_at: Mapped[datetime | None]
    application: Mapped[str | None]
    previous_version_id: Mapped[str | None] = mapped_column(ForeignKey("model_versions.version_id"))
    validation: Mapped[dict[str, Any] | None]
    workflow_id: Mapped[str]
    run_id: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    initiated_by: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=Now)
    completed_at: Mapped[datetime | None]
    is_rolled_back: Mapped[bool] = mapped_column(server_default=text("false"))
    rolled_back_at: Mapped[datetime | None]
    error_message: Mapped[str | None]
    ticket: Mapped[int] = mapped_column(Identity())
    """Drawn when the request was accepted: who waits, waits in this order."""
    start_at: Mapped[datetime | None]
    queued_request: Mapped[dict[str, Any] | None]
    """What starts it when its turn comes (`QueueInput`); null for one that was started as soon as it was accepted."""


class Slot(Base):
    """Who runs, and who wants to: `taken_at` is null while one waits. A slot is free again when its deployment ends."""

    __tablename__ = "slots"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"), primary_key=True)
    asked_at: Mapped[datetime] = mapped_column(server_default=Now)
    seen_at: Mapped[datetime] = mapped_column(server_default=Now)
    taken_at: Mapped[datetime | None]


class FreezeRow(Base):
    """A time in which nothing new starts in an environment. Lifted early, it ends when it was lifted."""

    __tablename__ = "freezes"
    __table_args__ = (Index("ix_freezes_environment", "environment"),)

    freeze_id: Mapped[str] = mapped_column(primary_key=True)
    environment: Mapped[str]
    reason: Mapped[str]
    starts_at: Mapped[datetime]
    until: Mapped[datetime]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    lifted_by: Mapped[str | None]
    lifted_at: Mapped[datetime | None]


class ActiveVersion(Base):
    """What serves where, and what served before: `until` is null while it does."""

    __tablename__ = "active_versions"
    __table_args__ = (
        Index("uq_active_versions_now", "environment", "model_id", unique=True, postgresql_where=text("until IS NULL")),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.model_id"))
    environment: Mapped[str]
    version_id: Mapped[str] = mapped_column(ForeignKey("model_versions.version_id"))
    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"))
    application: Mapped[str]
    since: Mapped[datetime] = mapped_column(server_default=Now)
    until: Mapped[datetime | None]


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
    """How that arm was chosen: by `weight`; or by the request itself, by `version` or as a `tester`."""
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
    """Who asked, as a salted hash: the same caller has the same one, and nobody can tell which it is."""


class RecordRollup(Base):
    """What the records of one application and arm add up to, by the second, the minute and the hour.

    Written in the transaction that inserts the records (`hotswap/persistence/rollups.py`).
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
    """What was wrong with the request, not with the model."""
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
    """What all proxies together had answered for an application by then; a row wherever it grew."""

    __tablename__ = "proxy_counts"

    application: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    counts: Mapped[dict[str, Any]]


class ProxyMark(Base):
    """What each proxy said last, from which its growth is told."""

    __tablename__ = "proxy_marks"

    proxy: Mapped[str] = mapped_column(primary_key=True)
    application: Mapped[str] = mapped_column(primary_key=True)
    counts: Mapped[dict[str, Any]]


class AuditEvent(Base):
    """Append-only, by a trigger: who did what to which thing, when and why."""

    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_target_id", "target_id"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=Now)
    actor: Mapped[str]
    action: Mapped[str]
    target_type: Mapped[str]
    target_id: Mapped[str]
    why: Mapped[str | None]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    event_key: Mapped[str | None] = mapped_column(unique=True)
    """Of an event that changes nothing else by which a second writing of it could be told."""


class OutcomeRow(Base):
    """What a request's prediction should have been, and once its record is there, what it was worth.

    What was counted of it is kept, so that another outcome of the same request can take its place.
    """

    __tablename__ = "outcomes"
    __table_args__ = (
        Index("ix_outcomes_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_outcomes_received_at", "received_at"),
        # All that an analysis asks for, in the index alone.
        Index(
            "ix_outcomes_compared",
            "application",
            "requested_at",
            postgresql_include=["is_number", "score"],
            postgresql_where=text("is_compared"),
        ),
    )

    request_id: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    observed_at: Mapped[datetime | None]
    reported_by: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(server_default=Now)
    due_at: Mapped[datetime | None] = mapped_column(server_default=Now)
    """When its record is looked for (again); null once it was found."""
    application: Mapped[str | None]
    requested_at: Mapped[datetime | None]
    predicted: Mapped[str | None]
    counted: Mapped[str | None]
    """The outcome that was counted in the roll-ups."""
    error: Mapped[float | None]
    score: Mapped[float | None]
    is_number: Mapped[bool | None]
    is_compared: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether the weight chose who answered: only that says anything of one version beside another."""


class OutcomeRollup(Base):
    """Sums of what the predictions of `width_seconds` from `at` on were worth (`hotswap.analysis.quality.Tally`)."""

    __tablename__ = "outcome_rollups"
    __table_args__ = (
        Index("ix_outcome_rollups_model_environment_at", "model", "environment", "width_seconds", "at"),
        Index("ix_outcome_rollups_width_seconds_at", "width_seconds", "at"),
    )

    application: Mapped[str] = mapped_column(primary_key=True)
    width_seconds: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    environment: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    labels: Mapped[int] = mapped_column(server_default=text("0"))
    correct: Mapped[int] = mapped_column(server_default=text("0"))
    numbers: Mapped[int] = mapped_column(server_default=text("0"))
    absolute: Mapped[float] = mapped_column(server_default=text("0"))
    squared: Mapped[float] = mapped_column(server_default=text("0"))
    confusion: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


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


class Approval(Base):
    __tablename__ = "approvals"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    approved_by: Mapped[str]
    is_claimed: Mapped[bool]
    approved_at: Mapped[datetime] = mapped_column(server_default=Now)


class TrafficRoute(Base):
    """One model's route in one environment. A row outlives its arms: the fence must not be forgotten."""

    __tablename__ = "traffic_routes"

    environment: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    stable: Mapped[dict[str, Any] | None]
    candidate: Mapped[dict[str, Any] | None]
    candidate_weight: Mapped[int] = mapped_column(server_default=text("0"))
    shed: Mapped[int] = mapped_column(server_default=text("0"))
    epoch: Mapped[int]
    sequence: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(server_default=Now)


class TrafficEpoch(Base):
    """The epoch of each workflow run that ever wrote a route."""

    __tablename__ = "traffic_epochs"
    __table_args__ = (UniqueConstraint("environment", "model", "epoch"),)

    environment: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int]


class PlanGeneration(Base):
    """One row: its lock orders all changes, so generation N holds exactly the changes up to N."""

    __tablename__ = "plan_generation"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    generation: Mapped[int]


class DesiredApplication(Base):
    __tablename__ = "desired_applications"

    name: Mapped[str] = mapped_column(primary_key=True)
    environment: Mapped[str]
    model: Mapped[str]
    version: Mapped[str]
    deployment_id: Mapped[str]
    spec: Mapped[dict[str, Any]]
    replicas: Mapped[int]
    full_replicas: Mapped[int]
    reserved: Mapped[int] = mapped_column(server_default=text("0"))
    """Counted for it while its deployment is under way, also before there are so many."""
    set_aside_reason: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)


class LeaseRow(Base):
    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[str]
    holder: Mapped[str]
    expires_at: Mapped[datetime]


class ProxyReportRow(Base):
    """What agents report through the API while Redis is away."""

    __tablename__ = "proxy_reports"

    proxy: Mapped[str] = mapped_column(primary_key=True)
    report: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(server_default=Now)
