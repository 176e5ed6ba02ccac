"""Deployments, who may run when, who approved, and the audit of it all."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy
from hotswap.persistence.tables.base import Base, Now

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
    kind: Mapped[DeploymentKind] = mapped_column(server_default="rollout")
    strategy: Mapped[Strategy]
    environment: Mapped[Environment]
    strategy_config: Mapped[dict[str, Any]]
    resources: Mapped[dict[str, Any]]
    status: Mapped[DeploymentStatus] = mapped_column(server_default="Pending")
    reason: Mapped[str | None]
    message: Mapped[str | None]
    progress_percentage: Mapped[int] = mapped_column(server_default=text("0"))
    traffic_percentage: Mapped[int] = mapped_column(server_default=text("0"))
    verified_weight: Mapped[int] = mapped_column(server_default=text("0"))
    verified_at: Mapped[datetime | None]
    application: Mapped[str | None]
    previous_version_id: Mapped[str | None] = mapped_column(ForeignKey("model_versions.version_id"))
    validation: Mapped[dict[str, Any] | None]
    backtest: Mapped[dict[str, Any] | None]
    """The `BacktestReport` of what the stable was asked and the candidate answered; null where there was none."""
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
    accept_contract_change: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if it may narrow what clients of the version before it rely on."""
    emergency: Mapped[str | None]
    """The reason why it skips its bakes; null if it doesn't."""
    queued_request: Mapped[dict[str, Any] | None]
    """The input that starts it when its turn comes (`QueueInput`); null if it was started as soon as it was accepted.
    """


class Slot(Base):
    """A slot that runs or is waited for: `taken_at` is null while it waits. It is free when its deployment ends."""

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
    environment: Mapped[Environment]
    reason: Mapped[str]
    starts_at: Mapped[datetime]
    until: Mapped[datetime]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    lifted_by: Mapped[str | None]
    lifted_at: Mapped[datetime | None]


class AuditEvent(Base):
    """Append-only, by a trigger: who did what to which thing, when and why."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_target_id", "target_id"),
        Index("ix_audit_events_actor_id", "actor", "id"),
        Index("ix_audit_events_trace_id", "trace_id"),
    )

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
    """The key of an event that changes nothing else by which a second writing of it could be told."""
    trace_id: Mapped[str | None]
    """The trace id of the request that led to it; None for what a workflow does by itself."""


class Approval(Base):
    __tablename__ = "approvals"

    deployment_id: Mapped[str] = mapped_column(ForeignKey("deployments.deployment_id"), primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    approved_by: Mapped[str]
    is_claimed: Mapped[bool]
    approved_at: Mapped[datetime] = mapped_column(server_default=Now)
    proof: Mapped[str | None]
    """The `event_key` of the API's own record that this person said it."""
