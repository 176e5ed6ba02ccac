"""Access for callers that no other issuer vouches for."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from hotswap.persistence.tables.base import Base, Now


class ServiceTokenRow(Base):
    """A program's token, by its hash. After a rotation the one before it counts too, until `previous_until`."""

    __tablename__ = "service_tokens"
    __table_args__ = (
        Index("uq_service_tokens_name_in_use", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    token_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    grants: Mapped[list[str]]
    secret_hash: Mapped[str]
    previous_hash: Mapped[str | None]
    previous_until: Mapped[datetime | None]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=Now)
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_by: Mapped[str | None]
    revoked_at: Mapped[datetime | None]
