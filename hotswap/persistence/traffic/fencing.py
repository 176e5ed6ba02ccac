"""Who may write: every write for a deployment is fenced, in its own transaction, by the newest epoch that was given.

A workflow run gets its epoch when it opens its deployment, or with its first write, and each epoch is higher than those
given before for the model and environment. So whatever an older run still has in hand (an activity whose worker was
frozen, say) is refused from the moment at which a newer run exists, and not only once that one has written.
"""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.errors import DeploymentMoved, StaleFence
from hotswap.domain.traffic import Fence
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.tables import Deployment, PlanGeneration, TrafficEpoch, TrafficRoute


async def lock_plan(session: AsyncSession) -> int:
    """Take the lock that orders epochs and changes, and return the present generation.

    It is taken before any other lock in a transaction that touches more than one deployment, so that no two wait for
    each other.
    """
    generation = await session.scalar(select(PlanGeneration.generation).with_for_update())
    assert generation is not None  # the first migration inserts it
    return generation


async def ensure_epoch(session: AsyncSession, environment: Environment, model: str, *, run_id: str) -> int:
    """Return the run's epoch; write one if it has none, higher than that of any run before it."""
    epoch = await session.scalar(
        select(TrafficEpoch.epoch).where(
            TrafficEpoch.environment == environment, TrafficEpoch.model == model, TrafficEpoch.run_id == run_id
        )
    )
    if epoch is not None:
        return epoch
    newest = await _newest(session, environment, model)
    session.add(TrafficEpoch(environment=environment, model=model, run_id=run_id, epoch=newest + 1))
    await session.flush()
    return newest + 1


async def run_before(session: AsyncSession, environment: Environment, model: str, *, epoch: int) -> str | None:
    """Return the run with the newest epoch before this one; None where this is the first."""
    before = select(TrafficEpoch.run_id).where(
        TrafficEpoch.environment == environment, TrafficEpoch.model == model, TrafficEpoch.epoch < epoch
    )
    run_id: str | None = await session.scalar(before.order_by(TrafficEpoch.epoch.desc()).limit(1))
    return run_id


async def newest_epoch(session: AsyncSession, environment: Environment, model: str, *, run_id: str) -> int:
    """Return the run's epoch, which it gets here if it has none. Raises StaleFence where a newer run has one."""
    epoch = await ensure_epoch(session, environment, model, run_id=run_id)
    newest = await _newest(session, environment, model)
    if epoch < newest:
        raise StaleFence(
            f"a newer run works on {model} in {environment}: this run's epoch is {epoch}, and the newest is {newest}"
        )
    return epoch


async def check_newest(session: AsyncSession, environment: Environment, model: str, fence: Fence) -> None:
    """Raise StaleFence unless the model's route is as the change with this fence has left it."""
    route = await session.get(TrafficRoute, (environment, model), populate_existing=True)
    written = Fence(route.epoch, route.sequence) if route is not None else None
    if written != fence:
        raise StaleFence(f"the route of {model} in {environment} was changed after ({fence.epoch}, {fence.sequence})")


async def check_under_way(session: AsyncSession, deployment_id: str) -> None:
    """Raise DeploymentMoved when the deployment has ended: what a reset of its workflow does again changes nothing."""
    await _under_way(session, deployment_id)


async def check_bound(session: AsyncSession, deployment_id: str, *, run_id: str) -> None:
    """Raise DeploymentMoved when the deployment has ended, or its row is bound to another run than this one.

    A reset makes such a run. It knows only what was done until the point that it was reset to, so it has to open the
    deployment again, which binds the row to it and tells it what there is.
    """
    bound = await _under_way(session, deployment_id)
    if bound is not None and bound != run_id:
        raise DeploymentMoved(f"{deployment_id} is bound to run {bound}: its workflow was reset to an earlier point")


async def _under_way(session: AsyncSession, deployment_id: str) -> str | None:
    """Return the run that the row is bound to. Raises DeploymentMoved when the deployment has ended."""
    found = select(Deployment.status, Deployment.run_id).where(Deployment.deployment_id == deployment_id)
    row = (await session.execute(found)).one_or_none()
    if row is None:
        return None
    if row.status.is_terminal:
        raise DeploymentMoved(
            f"{deployment_id} has ended as {row.status}, and its workflow changes nothing any more; deploy again"
        )
    bound: str | None = row.run_id
    return bound


async def _newest(session: AsyncSession, environment: Environment, model: str) -> int:
    newest = await session.scalar(
        select(func.max(TrafficEpoch.epoch)).where(TrafficEpoch.environment == environment, TrafficEpoch.model == model)
    )
    return newest or 0
