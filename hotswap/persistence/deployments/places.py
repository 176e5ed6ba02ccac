"""Where those stand that wait, for people to read: computed when it is asked for, so it is never out of date."""

from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.queueing import QueuePosition, in_force, slot_places
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.deployments.deployment_queue import queue_states
from hotswap.persistence.deployments.freezes import freezes_of
from hotswap.persistence.deployments.slots import slot_line
from hotswap.persistence.tables import Deployment


async def places(session: AsyncSession, deployments: Iterable[Deployment]) -> dict[str, QueuePosition]:
    """Of those that wait for their turn, or for a slot; the others are left out."""
    pending = [row for row in deployments if row.status == DeploymentStatus.PENDING]
    if not pending:
        return {}
    in_line = {row.deployment_id for row in pending if row.queued_request is not None and row.run_id is None}
    found = {name: state.place for name, state in (await queue_states(session, in_line)).items()}
    opened = {row.deployment_id for row in pending if row.run_id is not None}
    if opened:
        now = await session.scalar(select(func.clock_timestamp()))
        assert now is not None
        held = in_force(await freezes_of(session, list(Environment)), at=now)
        waiting = slot_places(await slot_line(session), freezes=held.values())
        found |= {name: waiting[name] for name in opened if name in waiting}
    return found
