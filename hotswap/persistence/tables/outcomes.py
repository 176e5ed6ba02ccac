"""Outcomes of predictions, and their scores."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Index,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.persistence.tables.base import Base, Now


class OutcomeRow(Base):
    """The outcome of a request's prediction, and once its record is there, the score.

    The counted score is kept, so that another outcome of the same request can take its place.
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
            postgresql_include=["is_number", "score", "entity"],
            postgresql_where=text("is_compared"),
        ),
    )

    request_id: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    observed_at: Mapped[datetime | None]
    reported_by: Mapped[str]
    received_at: Mapped[datetime] = mapped_column(server_default=Now)
    due_at: Mapped[datetime | None] = mapped_column(server_default=Now)
    """The next time to look for its record; null once it was found."""
    application: Mapped[str | None]
    requested_at: Mapped[datetime | None]
    predicted: Mapped[str | None]
    counted: Mapped[str | None]
    """The outcome that was counted in the roll-ups."""
    error: Mapped[float | None]
    score: Mapped[float | None]
    is_number: Mapped[bool | None]
    is_compared: Mapped[bool] = mapped_column(server_default=text("false"))
    """True if the weight chose who answered: only that says anything of one version beside another."""
    entity: Mapped[int | None]
    """The caller of the request, as its record has it."""


class OutcomeRollup(Base):
    """Sums of the outcomes of the predictions in `width_seconds` from `at` on (`analysis.quality.OutcomeTally`)."""

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
