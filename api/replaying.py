"""A past deployment judged again: `POST /deployments/{id}/replay`. It reads only, and starts nothing.

What the given configuration says takes the place of what the deployment ran by, key by key; an empty one is the same
policy, and comes to the same verdicts.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import ValidationError

from api.context import Maker, With
from api.errors import invalid
from api.idempotency import not_kept
from api.parameters import DeploymentId
from api.routing import GuardedRoute
from hotswap.deployments.views import metric_fields
from hotswap.domain.analysis import BakeRecord
from hotswap.domain.deployments import Deployment
from hotswap.domain.errors import Conflict
from hotswap.domain.history import Analysis
from hotswap.schemas.requests import Replay
from hotswap.schemas.responses import MetricView, ReplayedStepView, ReplayView
from hotswap.schemas.strategy import CanaryConfig

if TYPE_CHECKING:
    from hotswap.analysis.replay import Replayed

router = APIRouter(prefix="/api/v1/deployments", tags=["deployments"], route_class=GuardedRoute)

WEIGHTS = frozenset({"canary_percentage", "increment_step"})
BAKES = frozenset({"steps", "monitoring_duration", "bake_deadline"})
"""Fields of a policy about its steps; the recorded steps are judged as they were, whatever the rules are by now."""


@router.post("/{deployment_id}/replay", dependencies=[not_kept()])
async def replay_deployment(_: Maker, parts: With, deployment_id: DeploymentId, body: Replay) -> ReplayView:
    """Return where a past deployment would have ended under another policy, as far as its observations can tell."""
    deployment = await parts.deployments.deployment(deployment_id)
    config = policy(deployment.strategy_config, body.strategy_config)
    bakes = await parts.observations.bakes(deployment_id)
    record = await parts.history.record(deployment_id)
    # Some thousand observations are judged: that must not hold up who asks something else meanwhile.
    return await asyncio.to_thread(_replayed, deployment, bakes, config, record.analyses)


def policy(recorded: dict[str, Any], given: dict[str, Any]) -> CanaryConfig:
    """Return the recorded configuration with the given values in it.

    Raises ValidationFailed naming the field, and Conflict if the recorded one can't be read any more.
    """
    try:
        said = CanaryConfig.model_validate(given)
    except ValidationError as error:
        raise invalid(error, within="strategyConfig") from None
    try:
        before = CanaryConfig.model_validate(recorded)
    except ValidationError:
        raise Conflict(
            "its configuration was written by another version of HotSwap and can't be read any more"
        ) from None
    changed = {name: getattr(said, name) for name in said.model_fields_set}
    if said.steps is not None:
        changed |= dict.fromkeys(WEIGHTS)
    elif WEIGHTS & said.model_fields_set:
        changed["steps"] = None
    config = before.model_copy(update=changed)
    config.plan()  # raises for a plan of too many steps
    if said.model_fields_set & BAKES:
        config.check()
    return config


def _replayed(
    deployment: Deployment, bakes: Sequence[BakeRecord], config: CanaryConfig, analyses: Sequence[Analysis]
) -> ReplayView:
    from hotswap.analysis.replay import conclusion, replay  # brings scipy, which nothing else here needs

    is_first = deployment.previous_version is None and not any(
        observation.stable.completed for bake in bakes for observation in bake.observations
    )
    policy, steps = (
        (config.first_policy(), config.first_plan()) if is_first else (config.analysis_policy(), config.plan())
    )
    # What ran before there were extensions is judged as it was.
    extends = any(each.verdict.bake_until is not None for each in analyses)
    replayed = replay(bakes, policy=policy, steps=steps, rules=config.rules(), extends=extends)
    end, message = conclusion(replayed)
    recorded = {(each.step, each.begun_at): each.verdict.outcome for each in analyses}
    return ReplayView(
        deployment_id=deployment.deployment_id,
        recorded_status=deployment.status,
        end=end,
        message=message,
        steps=[_step(each, recorded[each.bake.step, each.bake.begun_at]) for each in replayed],
    )


def _step(replayed: "Replayed", recorded: str) -> ReplayedStepView:
    bake, verdict = replayed.bake, replayed.verdict
    return ReplayedStepView(
        step=bake.step + 1,
        weight=bake.weight / 100,
        begun_at=datetime.fromtimestamp(bake.begun_at, UTC),
        looks=len(bake.observations),
        recorded=recorded,
        end=replayed.end,
        after_seconds=replayed.after_seconds,
        outcome=verdict.outcome if verdict is not None else None,
        reason=verdict.reason if verdict is not None else None,
        message=replayed.message,
        metrics=[MetricView(**metric_fields(each)) for each in verdict.metrics] if verdict is not None else [],
        thinned=bake.thinned,
    )
