"""Refuses a deployment that has no room, before it is accepted: what the cluster has, what runs, and what it needs.

The look promises nothing: the workflow plans again right before replicas start. Where Ray doesn't answer nothing is
refused, since a deployment may well wait until it does. What waits for its turn is only held to what could ever fit.
"""

import logging

from api.context import Parts
from hotswap.deployments.capacity import Wanted
from hotswap.domain.capacity import CapacityPlan
from hotswap.domain.errors import HotSwapError, InsufficientCapacity, Unavailable, ValidationFailed
from hotswap.domain.registry import VersionRef
from hotswap.domain.strategy import immediate_steps
from hotswap.domain.vocabulary import DeploymentKind, Environment, OnConflict
from hotswap.persistence.deployments.rows import NewDeployment
from hotswap.schemas.strategy import CanaryConfig

logger = logging.getLogger(__name__)


async def check_capacity(parts: Parts, new: NewDeployment) -> None:
    """What its key has accepted before isn't refused any more, and who runs there is told first.

    Raises InsufficientCapacity, ValidationFailed, ModelNotFound and VersionNotFound.
    """
    if await parts.queries.known_deployment(new) is not None:
        return
    wanted = (await parts.queries.version(new.model, new.version)).ref
    if not _waits(new) and await parts.queries.running_deployment(new.environment, wanted.model) is not None:
        return
    if (refusal := await capacity_refusal(parts, new, wanted)) is not None:
        raise refusal


async def capacity_refusal(parts: Parts, new: NewDeployment, wanted: VersionRef) -> HotSwapError | None:
    return refusal_of(await plan_now(parts, new, wanted), new)


def refusal_of(planned: CapacityPlan | HotSwapError | None, new: NewDeployment) -> HotSwapError | None:
    """What waits may wait for room too, but not for what can never be had."""
    if isinstance(planned, InsufficientCapacity) and _waits(new):
        return None
    return planned if isinstance(planned, HotSwapError) else None


async def plan_now(parts: Parts, new: NewDeployment, wanted: VersionRef) -> CapacityPlan | HotSwapError | None:
    """The plan as it would be now, or what refuses it; None where that can't be known."""
    try:
        return await parts.planner.look(await _asked(parts, new, wanted))
    except (InsufficientCapacity, ValidationFailed) as refusal:
        return refusal
    except Unavailable as error:
        logger.warning("the capacity could not be looked at", extra={"error": error.message})
        return None


async def _asked(parts: Parts, new: NewDeployment, wanted: VersionRef) -> Wanted:
    stable = await _stable(parts, new.environment, wanted.model)
    config = CanaryConfig.model_validate(new.strategy_config)
    is_rollback = new.kind is DeploymentKind.ROLLBACK
    return Wanted(
        application=None,
        environment=new.environment,
        model=wanted.model,
        version=wanted.version,
        resources=new.resources,
        stable=stable,
        steps=immediate_steps() if stable is None or is_rollback or new.emergency is not None else config.plan(),
        allow_recreate=bool(config.allow_recreate),
        may_be_warm=is_rollback,
    )


async def _stable(parts: Parts, environment: Environment, model: str) -> str | None:
    routes = (await parts.plans.current()).routes
    arm = next((route.stable for route in routes if (route.environment, route.model) == (environment, model)), None)
    return arm.application if arm is not None else None


def _waits(new: NewDeployment) -> bool:
    return new.start_at is not None or new.on_conflict in {OnConflict.QUEUE, OnConflict.SUPERSEDE}
