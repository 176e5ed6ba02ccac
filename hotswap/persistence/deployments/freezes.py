"""Freezes as rows: who froze which environment from when until when, and why.

Each change is audited under its environment, and notifies the queue, since a deployment may wait for it.
"""

import secrets
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import Conflict, NotFound
from hotswap.domain.queueing import Freeze, in_force
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.platform.audit import about_environment
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.queue_notifications import notify_queue
from hotswap.persistence.tables import FreezeRow
from hotswap.telemetry import logs

_NOT_ENDED = (FreezeRow.lifted_at.is_(None), FreezeRow.until > func.now())


class PostgresFreezes:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add(
        self, environment: Environment, *, reason: str, starts_at: datetime | None, until: datetime, by: str
    ) -> Freeze:
        """Add a freeze. Without `starts_at` it begins now."""
        row = FreezeRow(
            freeze_id=f"frz-{secrets.token_hex(4)}",
            environment=environment,
            reason=reason,
            starts_at=starts_at or func.now(),
            until=until,
            created_by=by,
        )
        async with self._sessions.begin() as session:
            session.add(row)
            await session.flush()
            await session.refresh(row)
            freeze = _freeze(row)
            session.add(
                about_environment(environment, actor=by, action=AuditAction.FREEZE, reason=reason, after=_told(freeze)),
            )
            await notify_queue(session)
        return freeze

    async def lift(self, freeze_id: str, *, by: str) -> Freeze:
        """End it now. Raises NotFound, and Conflict when it has ended already."""
        async with self._sessions.begin() as session:
            row = await session.get(FreezeRow, freeze_id, with_for_update=True)
            if row is None:
                raise _no_freeze(freeze_id)
            now = await session.scalar(select(func.now()))
            assert now is not None
            if row.lifted_at is not None or row.until <= now:
                raise Conflict(f"{freeze_id} of {row.environment} has ended already; nothing is left to thaw")
            before = _told(_freeze(row))
            row.lifted_by, row.lifted_at = by, now
            freeze = _freeze(row)
            session.add(
                about_environment(
                    row.environment,
                    actor=by,
                    action=AuditAction.THAW,
                    reason=logs.reason.get() or f"{row.reason}: lifted",
                    before=before,
                    after=_told(freeze),
                )
            )
            await notify_queue(session)
        return freeze

    async def get(self, freeze_id: str) -> Freeze:
        """Read one. Raises NotFound."""
        async with self._sessions() as session:
            row = await session.get(FreezeRow, freeze_id)
        if row is None:
            raise _no_freeze(freeze_id)
        return _freeze(row)

    async def all(self, *, environment: Environment | None = None) -> list[Freeze]:
        """Return the freezes that are in force or planned, in the order in which they begin."""
        wanted = select(FreezeRow).where(*_NOT_ENDED)
        if environment is not None:
            wanted = wanted.where(FreezeRow.environment == environment)
        async with self._sessions() as session:
            return [
                _freeze(row) for row in await session.scalars(wanted.order_by(FreezeRow.starts_at, FreezeRow.freeze_id))
            ]


async def freezes_in_force(session: AsyncSession, *, at: datetime) -> dict[Environment, Freeze]:
    """Return the freeze of each environment that is frozen at this time, which must not be past."""
    rows = await session.scalars(select(FreezeRow).where(*_NOT_ENDED))
    return in_force(map(_freeze, rows), at=at)


def _no_freeze(freeze_id: str) -> NotFound:
    return NotFound(f"there is no freeze {freeze_id}; `hotswap freezes` lists those there are")


def _freeze(row: FreezeRow) -> Freeze:
    return Freeze(
        freeze_id=row.freeze_id,
        environment=row.environment,
        reason=row.reason,
        starts_at=row.starts_at,
        until=row.lifted_at or row.until,
        created_by=row.created_by,
    )


def _told(freeze: Freeze) -> dict[str, str]:
    return {
        "freezeId": freeze.freeze_id,
        "startsAt": freeze.starts_at.isoformat(),
        "until": freeze.until.isoformat(),
    }
