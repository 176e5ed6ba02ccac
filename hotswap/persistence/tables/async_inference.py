"""Inference that is answered later."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.domain.vocabulary import InferenceStatus
from hotswap.persistence.tables.base import Base, Now


class AsyncInference(Base):
    """A request that was accepted, and what became of it (`hotswap/persistence/records/async_inference.py`)."""

    __tablename__ = "async_inferences"
    __table_args__ = (
        Index("ix_async_inferences_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index("ix_async_inferences_accepted_at", "accepted_at"),
    )

    request_id: Mapped[str] = mapped_column(primary_key=True)
    model_name: Mapped[str]
    is_batch: Mapped[bool]
    headers: Mapped[dict[str, Any]]
    """Those that lead it: environment, version, entity, tester."""
    body: Mapped[str | None]
    """The body as replicas take it; gone once it is answered, since features may be sensitive."""
    fingerprint: Mapped[str]
    """A digest by which the same request is known when it is sent again."""
    requested_by: Mapped[str]
    status: Mapped[InferenceStatus]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    accepted_at: Mapped[datetime] = mapped_column(server_default=Now)
    deadline_at: Mapped[datetime]
    due_at: Mapped[datetime | None] = mapped_column(server_default=Now)
    """The next time to send it; while it is being sent, the time at which its sender is taken for dead. Null at its
    end.
    """
    completed_at: Mapped[datetime | None]
    answer: Mapped[str | None]
    """The answer of a replica or of Envoy: a prediction, or an error."""
