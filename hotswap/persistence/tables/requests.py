"""Requests of callers, by which a repeated one does nothing again."""

from datetime import datetime
from typing import Any

from sqlalchemy import Identity, Index
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.persistence.tables.base import Base, Now


class IdempotencyKey(Base):
    """A caller's key, the request that it stands for, and its answer; null while that is under way."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    caller: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Identity(), unique=True)
    fingerprint: Mapped[str]
    """SHA-256 of method, path, query and body."""
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    claimed_at: Mapped[datetime] = mapped_column(server_default=Now)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[str | None]
