"""Places of waiting deployments, for people to read: computed when asked for, so they are never out of date."""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.queueing import QueuePosition, slot_places
from hotswap.persistence.deployments.deployment_queue import queue_states
from hotswap.persistence.deployments.freezes import freezes_in_force
from hotswap.persistence.deployments.slots import slot_line
from hotswap.persistence.platform.database import clock
from hotswap.persistence.tables import Deployment


async def places(session: AsyncSession, deployments: Iterable[Deployment]) -> dict[str, QueuePosition]:
    """Return the places of those deployments that wait for their turn, or for a slot, by id."""
    pending = [row for row in deployments if row.status == DeploymentStatus.PENDING]
    if not pending:
        return {}
    in_line = {row.deployment_id for row in pending if row.queued_request is not None and row.run_id is None}
    found = {name: state.place for name, state in (await queue_states(session, in_line)).items()}
    opened = {row.deployment_id for row in pending if row.run_id is not None}
    if opened:
        held = await freezes_in_force(session, at=await clock(session))
        waiting = slot_places(await slot_line(session), freezes=held.values())
        found |= {name: waiting[name] for name in opened if name in waiting}
    return found
