"""The traffic plan's truth: implements `hotswap.ports.TrafficPlans`.

Every change is one transaction that holds the generation row's lock, so generation N is exactly all changes up to N.
The fence decides who may write (`fencing.py`): an older (epoch, sequence) is refused, the same one changes nothing.
"""

from typing import Any

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Update, cast, exists, extract, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import StaleFence
from hotswap.domain.proxies import RegisteredProxy
from hotswap.domain.traffic import Arm, Fence, Route, TrafficChange, TrafficPlan
from hotswap.persistence.platform.audit import about_deployment
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import AuditEvent, Model, PlanGeneration, TrafficRoute
from hotswap.persistence.traffic.fencing import check_bound, lock_plan, newest_epoch
from hotswap.persistence.traffic.proxies import proxies


class PostgresTrafficPlans:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        async with self._sessions.begin() as session:
            return await apply_change(session, change, run_id=run_id)

    async def current(self) -> TrafficPlan:
        async with self._sessions() as session:
            # One statement's snapshot can't be had for two tables without it.
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            return await plan_now(session)

    async def begin_lineage(self, *, after: int) -> TrafficPlan:
        async with self._sessions.begin() as session:
            await lock_plan(session)
            await session.execute(later_lineage(after=after).where(PlanGeneration.lineage <= after))
            return await plan_now(session)

    async def proxies(self) -> list[RegisteredProxy]:
        return await proxies(self._sessions)


async def apply_change(session: AsyncSession, change: TrafficChange, *, run_id: str) -> TrafficPlan:
    """Apply inside the caller's transaction. Raises StaleFence, and DeploymentMoved for a deployment that has ended."""
    generation = await lock_plan(session)
    epoch = await newest_epoch(session, change.environment, change.model, run_id=run_id)
    fence = Fence(epoch, change.sequence)
    known = await session.get(TrafficRoute, (change.environment, change.model))
    if known is not None:
        written = Fence(known.epoch, known.sequence)
        if written.is_newer_than(fence):
            raise StaleFence(
                f"the route of {change.model} in {change.environment} was changed by a newer run: "
                f"({written.epoch}, {written.sequence}) is after ({fence.epoch}, {fence.sequence})"
            )
        if written == fence:
            return await plan_now(session)
    await check_bound(session, change.deployment_id, run_id=run_id)
    session.add(_changed(known, change))
    values: dict[str, Any] = {
        "stable": _to_json(change.stable),
        "candidate": _to_json(change.candidate),
        "candidate_weight": change.candidate_weight,
        "shed": change.shed,
        "epoch": fence.epoch,
        "sequence": fence.sequence,
        "updated_at": func.now(),
    }
    statement = insert(TrafficRoute).values(environment=change.environment, model=change.model, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["environment", "model"], set_=values))
    await session.execute(update(PlanGeneration).values(generation=generation + 1))
    return await plan_now(session)


def later_lineage(*, after: int | InstrumentedAttribute[int]) -> Update:
    """Return the statement that begins a new lineage.

    Its number is the time (Unix time, seconds), so that it is none that a database had before it was restored.
    """
    now = cast(func.floor(extract("epoch", func.now())), BigInteger)
    return update(PlanGeneration).values(lineage=func.greatest(after + 1, now))


def _changed(known: TrafficRoute | None, change: TrafficChange) -> AuditEvent:
    def told(stable: Arm | None, candidate: Arm | None, weight: int, shed: int) -> dict[str, Any]:
        return {
            "stable": stable.application if stable is not None else None,
            "candidate": candidate.application if candidate is not None else None,
            "candidateWeight": weight,
            "shed": shed,
        }

    before = None
    if known is not None:
        before = told(to_arm(known.stable), to_arm(known.candidate), known.candidate_weight, known.shed)
    return about_deployment(
        change.deployment_id,
        actor="hotswap",
        action=AuditAction.CHANGE_ROUTE,
        reason=f"the route of {change.model} in {change.environment}",
        before=before,
        after=told(change.stable, change.candidate, change.candidate_weight, change.shed),
    )


def is_routed(application: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Return the condition for a route that has this application, as its stable or as its candidate."""
    return exists().where(
        or_(*(arm["application"].astext == application for arm in (TrafficRoute.stable, TrafficRoute.candidate)))
    )


async def renew_plan(session: AsyncSession) -> None:
    """Make a new generation without changing a route's arms, because other facts about its routes have changed."""
    generation = await lock_plan(session)
    await session.execute(update(PlanGeneration).values(generation=generation + 1))


async def plan_now(session: AsyncSession) -> TrafficPlan:
    """Return the present plan. In a transaction that isn't REPEATABLE READ, routes may be newer than the generation."""
    present = (await session.scalars(select(PlanGeneration).execution_options(populate_existing=True))).one()
    rows = await session.execute(
        select(TrafficRoute, func.coalesce(Model.is_idempotent, True), Model.team)
        .outerjoin(Model, Model.name == TrafficRoute.model)
        .order_by(TrafficRoute.environment, TrafficRoute.model)
        .execution_options(populate_existing=True)
    )
    routes = tuple(
        Route(
            environment=row.environment,
            model=row.model,
            stable=to_arm(row.stable),
            candidate=to_arm(row.candidate),
            candidate_weight=row.candidate_weight,
            fence=Fence(row.epoch, row.sequence),
            fallback=is_idempotent,
            shed=row.shed,
            team=team,
        )
        for row, is_idempotent, team in rows
        if row.stable is not None or row.candidate is not None
    )
    return TrafficPlan(present.generation, routes, present.lineage, present.installation.hex)


def _to_json(arm: Arm | None) -> dict[str, Any] | None:
    return None if arm is None else msgspec.to_builtins(arm)


def to_arm(row: dict[str, Any] | None) -> Arm | None:
    return None if row is None else msgspec.convert(row, Arm)
