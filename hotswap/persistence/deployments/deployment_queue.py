"""The queue as rows: implements `hotswap.ports.DeploymentQueue`.

A queued deployment is a row that holds all that is needed to start it. It stops being queued when a workflow of its own
opens it, or when it leaves: both are decided under the row's lock, so it can't do both.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.queueing import QueueEntry, QueueState, states_of
from hotswap.domain.verdict import Reason
from hotswap.persistence.deployments.freezes import freezes_in_force
from hotswap.persistence.deployments.transitions import STARTING, is_queued, move
from hotswap.persistence.platform.database import Sessions, clock
from hotswap.persistence.tables import ENDED, Deployment, Model


class PostgresDeploymentQueue:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def states(self, deployment_ids: Collection[str]) -> dict[str, QueueState | None]:
        async with self._sessions() as session:
            found = await queue_states(session, deployment_ids)
        return {deployment_id: found.get(deployment_id) for deployment_id in deployment_ids}

    async def make_way(self, deployment_id: str) -> tuple[QueueEntry, ...]:
        async with self._sessions.begin() as session:
            found = (await queue_states(session, [deployment_id])).get(deployment_id)
            if found is None:
                return ()
            for entry in found.overtakes:
                if entry.is_queued:
                    await _leave(
                        session,
                        entry.deployment_id,
                        DeploymentStatus.CANCELLED,
                        reason=Reason.SUPERSEDED,
                        message=f"superseded by {deployment_id} before its turn came",
                        actor="hotswap",
                    )
        return tuple(entry for entry in found.overtakes if not entry.is_queued)

    async def leave(
        self, deployment_id: str, status: DeploymentStatus, *, reason: Reason, message: str, actor: str
    ) -> bool:
        async with self._sessions.begin() as session:
            return await _leave(session, deployment_id, status, reason=reason, message=message, actor=actor)

    async def called(self) -> list[dict[str, Any]]:
        settled = Deployment.started_at < func.now() - STARTING
        wanted = select(Deployment.deployment_id, Deployment.queued_request).where(is_queued(), settled)
        async with self._sessions() as session:
            waiting = {row.deployment_id: row.queued_request for row in await session.execute(wanted)}
            found = await queue_states(session, waiting)
        return [waiting[name] for name, state in found.items() if state.is_called or state.overtakes]


async def queue_states(session: AsyncSession, deployment_ids: Collection[str]) -> dict[str, QueueState]:
    """Return the states of those deployments that are queued, by id."""
    if not deployment_ids:
        return {}
    concerned = select(Deployment.environment, Deployment.model_id).where(Deployment.deployment_id.in_(deployment_ids))
    rows = await session.execute(
        select(
            Deployment.deployment_id,
            Deployment.ticket,
            Deployment.kind,
            Deployment.environment,
            Model.name.label("model"),
            is_queued().label("is_queued"),
            func.coalesce(Deployment.queued_request["supersedes"].as_boolean(), False).label("supersedes"),
            Deployment.start_at,
            Deployment.workflow_id,
            Deployment.run_id,
        )
        .join(Model, Model.model_id == Deployment.model_id)
        .where(
            Deployment.status.not_in(ENDED),
            tuple_(Deployment.environment, Deployment.model_id).in_(concerned),
        )
    )
    entries = [_entry(row) for row in rows]
    now = await clock(session)
    found = states_of(entries, freezes=await freezes_in_force(session, at=now), now=now)
    return {name: found[name] for name in deployment_ids if name in found}


def _entry(row: Any) -> QueueEntry:
    return QueueEntry(
        deployment_id=row.deployment_id,
        ticket=row.ticket,
        kind=row.kind,
        environment=row.environment,
        model=row.model,
        is_queued=row.is_queued,
        supersedes=row.supersedes,
        start_at=row.start_at,
        workflow_id=row.workflow_id,
        run_id=row.run_id,
    )


async def _leave(
    session: AsyncSession, deployment_id: str, status: DeploymentStatus, *, reason: Reason, message: str, actor: str
) -> bool:
    """Take a deployment out of the queue, and return whether it was still in it."""
    deployment = await session.get(Deployment, deployment_id, with_for_update=True, populate_existing=True)
    if deployment is None or deployment.run_id is not None or deployment.status != DeploymentStatus.PENDING:
        return False
    await move(session, deployment, status, message=message, reason=reason, actor=actor)
    return True
