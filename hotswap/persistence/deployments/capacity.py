"""Holdings of the cluster by deployment, read from the rows: implements `hotswap.ports.Capacity`.

A plan is made and what it takes is written down in one transaction, under a lock that orders all planners, so that no
two deployments are promised the same GPU.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from sqlalchemy import delete, exists, not_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.application import Desired
from hotswap.domain.auditing import AuditAction
from hotswap.domain.capacity import size_of
from hotswap.domain.demand import Holding
from hotswap.domain.errors import Conflict, NotFound, Unavailable
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.persistence.deployments.applications import new_row, to_desired
from hotswap.persistence.platform import advisory
from hotswap.persistence.platform.advisory import AdvisoryLock
from hotswap.persistence.platform.audit import about_deployment
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import ENDED, Deployment, DesiredApplication, Model
from hotswap.persistence.traffic.fencing import check_under_way, lock_plan
from hotswap.persistence.traffic.plans import is_routed
from hotswap.ports import Planning


class PostgresCapacity:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def holdings(self) -> list[Holding]:
        async with self._sessions() as session:
            return await _Planning(session).holdings()

    async def team(self, model: str) -> str | None:
        async with self._sessions() as session:
            return await _Planning(session).team(model)

    @asynccontextmanager
    async def planning(self) -> AsyncIterator[Planning]:
        async with self._sessions.begin() as session:
            await advisory.take(session, AdvisoryLock.PLANNING)
            yield _Planning(session)


class _Planning:
    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def holdings(self) -> list[Holding]:
        is_deploying = exists().where(
            Deployment.model_id == Model.model_id,
            Deployment.environment == DesiredApplication.environment,
            Deployment.status.not_in(ENDED),
        )
        found = await self._session.execute(
            select(
                DesiredApplication,
                Model.team,
                is_routed(DesiredApplication.name).label("is_routed"),
                is_deploying.label("is_deploying"),
            )
            .outerjoin(Model, Model.name == DesiredApplication.model)
            .where(DesiredApplication.set_aside_reason.is_(None))
            .order_by(DesiredApplication.name)
        )
        return [
            _holding(row[0], team=row.team, is_routed=row.is_routed, is_deploying=row.is_deploying) for row in found
        ]

    async def team(self, model: str) -> str | None:
        team: str | None = await self._session.scalar(select(Model.team).where(Model.name == model))
        return team

    async def promise(
        self,
        candidate: Desired,
        *,
        reserved: int,
        stable: Mapping[str, int],
        retire: Collection[str],
        deployment_id: str | None = None,
    ) -> None:
        await lock_plan(self._session)  # no route gets what is removed between the look and the delete
        if deployment_id is not None:
            await check_under_way(self._session, deployment_id)
        spared = {"replicas": candidate.replicas, "full_replicas": candidate.full, "reserved": reserved}
        row = insert(DesiredApplication).values(new_row(candidate) | spared)
        await self._session.execute(row.on_conflict_do_update(index_elements=["name"], set_=spared))
        for name, replicas in stable.items():
            await self._session.execute(
                update(DesiredApplication).where(DesiredApplication.name == name).values(replicas=replicas)
            )
        unrouted = delete(DesiredApplication).where(
            DesiredApplication.name.in_(retire), not_(is_routed(DesiredApplication.name))
        )
        removed = await self._session.scalars(unrouted.returning(DesiredApplication.name))
        if kept := sorted({*retire} - {*removed}):
            raise Unavailable(f"{', '.join(kept)} was to make room and takes part in a route again: plan anew")

    async def resize(
        self, application: str, *, deployment_id: str, replicas: int, by: str, reason: str | None
    ) -> Desired:
        row = await self._session.get(DesiredApplication, application, with_for_update=True)
        if row is None:
            raise NotFound(f"{application} is not wanted any more")
        under_way = await self._session.scalar(
            select(Deployment.deployment_id)
            .join(Model, Model.model_id == Deployment.model_id)
            .where(
                Model.name == row.model,
                Deployment.environment == row.environment,
                Deployment.run_id.is_not(None),
                Deployment.status.not_in((*ENDED, DeploymentStatus.ROLLING_BACK)),
            )
        )
        if under_way is not None:
            raise Conflict(
                f"{row.model} is being deployed to {row.environment} by {under_way}, which counts on the replicas that "
                "are there; wait for its end, or abort it"
            )
        before = to_desired(row)
        if before.replicas != replicas:
            change = f"from {before.replicas} to {replicas} replicas"
            self._session.add(
                about_deployment(
                    deployment_id,
                    actor=by,
                    action=AuditAction.SCALE,
                    reason=f"{change}: {reason}" if reason else change,
                    before={"replicas": before.replicas},
                    after={"replicas": replicas},
                )
            )
        row.replicas = replicas
        if not before.spec.resources.scales_by_load:
            row.full_replicas = replicas
            deployment = await self._session.get_one(Deployment, deployment_id)
            deployment.resources = {**deployment.resources, "replicas": replicas}
        return before


def _holding(row: DesiredApplication, *, team: str | None, is_routed: bool, is_deploying: bool) -> Holding:
    desired = to_desired(row)
    spec = desired.spec
    return Holding(
        application=spec.name,
        environment=spec.environment,
        model=spec.model,
        version=spec.version,
        team=team,
        size=size_of(spec.resources),
        replicas=desired.replicas,
        full=desired.full,
        spare=not is_routed,
        scales_by_load=spec.resources.scales_by_load,
        reserved=row.reserved if is_deploying else 0,
    )
