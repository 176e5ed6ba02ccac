"""Slots as rows: implements `hotswap.ports.ConcurrencySlots`.

One transaction at a time looks at the whole line and gives what is free, under an advisory lock: there are never more
holders than slots, however many workers ask. A holder is one that has taken a slot and hasn't ended: ending frees it,
and nothing can be forgotten. Who waits is seen each time; who wasn't lately, and has no owner any more, is passed over.
"""

import time
from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.queueing import SEEN_LATELY, QueuePosition, SlotRequest, granted, slot_places
from hotswap.persistence.deployments.freezes import freezes_in_force
from hotswap.persistence.deployments.transitions import move
from hotswap.persistence.platform import advisory
from hotswap.persistence.platform.advisory import AdvisoryLock
from hotswap.persistence.platform.database import Sessions, clock
from hotswap.persistence.platform.queue_notifications import notify_queue
from hotswap.persistence.tables import ENDED, Deployment, Slot


class PostgresConcurrencySlots:
    def __init__(self, sessions: Sessions, *, limit: int) -> None:
        self._sessions = sessions
        self._limit = limit
        self._watching_since = self._looked_at = float("-inf")

    async def places(self, deployment_ids: Collection[str]) -> dict[str, QueuePosition | None]:
        async with self._sessions.begin() as session:
            await advisory.take(session, AdvisoryLock.SLOTS)
            await _seen(session, deployment_ids)
            line = await slot_line(session)
            now = await clock(session)
            held = await freezes_in_force(session, at=now)
            given = granted(line, limit=self._limit, frozen=held.keys(), watched=self._watched())
            if given:
                await session.execute(update(Slot).where(Slot.deployment_id.in_(given)).values(taken_at=now))
                line = await slot_line(session)
            if set(given) - set(deployment_ids):
                await notify_queue(session)
            places = slot_places(line, freezes=held.values())
            await _show_waiting(session, places.keys() & set(deployment_ids))
        return {deployment_id: places.get(deployment_id) for deployment_id in deployment_ids}

    def _watched(self) -> timedelta:
        """Return for how long this process has been polling without a gap."""
        now = time.monotonic()
        if now - self._looked_at > SEEN_LATELY.total_seconds():
            self._watching_since = now
        self._looked_at = now
        return timedelta(seconds=now - self._watching_since)


async def slot_line(session: AsyncSession) -> list[SlotRequest]:
    """Return the deployments that have a slot or wait for one, by ticket."""
    seen = func.extract("epoch", func.clock_timestamp() - Slot.seen_at)
    rows = await session.execute(
        select(Deployment.deployment_id, Deployment.environment, Slot.taken_at, seen.label("seen"))
        .join(Slot, Slot.deployment_id == Deployment.deployment_id)
        .where(Deployment.status.not_in(ENDED))
        .order_by(Deployment.ticket)
    )
    return [
        SlotRequest(
            deployment_id=row.deployment_id,
            environment=row.environment,
            has_slot=row.taken_at is not None,
            seen=timedelta(seconds=float(row.seen)),
        )
        for row in rows
    ]


async def _seen(session: AsyncSession, deployment_ids: Collection[str]) -> None:
    now = func.clock_timestamp()  # not the transaction's begin, which was before it waited for the lock
    asked = insert(Slot).values([{"deployment_id": each, "asked_at": now} for each in sorted(deployment_ids)])
    await session.execute(asked.on_conflict_do_update(index_elements=["deployment_id"], set_={"seen_at": now}))


async def _show_waiting(session: AsyncSession, deployment_ids: Collection[str]) -> None:
    """Make Pending again what was approved and has to wait for its slot."""
    approved = select(Deployment).where(
        Deployment.deployment_id.in_(deployment_ids), Deployment.status == DeploymentStatus.AWAITING_APPROVAL
    )
    message = "approved, and waits for a slot"
    for deployment in await session.scalars(approved.order_by(Deployment.ticket).with_for_update()):
        await move(session, deployment, DeploymentStatus.PENDING, message=message, reason=None, actor="hotswap")
