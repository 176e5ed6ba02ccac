"""The concurrent reference within the deployment workflow: a world that is slow, a version that is, and none to ask."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from hotswap.domain.application import ReplicaResources
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Outcome, Reason
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.test_backtest import requests
from tests.workflows.test_capacity import spec
from tests.workflows.test_deployment import CANDIDATE
from tests.workflows.world import STABLE

METRICS = [{"name": "errors", "source": "errors"}, {"name": "latency", "source": "latency"}]
OFTEN = {"share": 0.1, "perSecond": 50}


def at_full(
    stage: Stage,
    *,
    bake: str = "PT4S",
    deadline: str = "PT60S",
    reference: dict[str, Any] | None = None,
    **switches: Any,
) -> AbstractAsyncContextManager[Rollout]:
    """A rollout of one step below 100%, with an alpha at which evidence is there after some observations."""
    config = {
        "steps": [{"weight": 50, "bake": "PT1S"}, {"weight": 100, "bake": bake}],
        "bakeDeadline": deadline,
        "backtest": {"samples": 0},
        "analysis": {"metrics": METRICS, "alpha": 0.2, "reference": reference or OFTEN},
    }
    serving = [spec(STABLE, ReplicaResources())]
    return stage.rollout(config=config, serving=serving, recorded=requests(20), **switches)


async def test_a_machine_that_slows_both_versions_a_hundred_times_rolls_nothing_back(stage: Stage) -> None:
    async with at_full(stage, at_full=(100, 100)) as rollout:
        outcome = await rollout.handle.result()
    world = rollout.world
    assert (outcome.status, outcome.reason) == (S.ACTIVE, Reason.COMPLETED)
    told = world.verdicts[1].message
    assert "100.00 times the stable's 1.0 ms" in told
    assert "no slower than the stable is now" in told
    asked = {application for application, _ in world.asked_again}
    assert asked == {CANDIDATE, STABLE.application}
    before = [each for bake, each in world.observations if bake.step == 0]
    assert all(each.concurrent is None for each in before), "beside the stable's own traffic nothing is asked"


async def test_a_version_that_alone_is_slow_goes_back(stage: Stage) -> None:
    async with at_full(stage, bake="PT40S", at_full=(100, 1)) as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.LATENCY)
    assert "put to both over the same time it is 10" in outcome.message
    assert rollout.world.weights[-1] == 0


@pytest.mark.parametrize(
    ("switches", "reference", "told"),
    [
        ({"asked_once": "it must not be asked twice"}, None, "it must not be asked twice"),
        ({"stable_is_down": True}, None, "nobody answers"),
        ({}, {"share": 0}, "`analysis.reference.share` is 0"),
    ],
    ids=["asked once", "the stable is gone", "turned off"],
)
async def test_without_a_reference_it_is_held_and_says_why(
    stage: Stage, switches: dict[str, Any], reference: dict[str, Any] | None, told: str
) -> None:
    async with at_full(stage, deadline="PT6S", reference=reference, at_full=(100, 1), **switches) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
        verdict = rollout.world.verdicts[1]
        assert verdict.outcome is Outcome.INCONCLUSIVE
        assert "there is no reference of the same time" in verdict.message
        assert told in verdict.message
        assert rollout.world.weights[-1] == 10_000, "it is held where it is"
        await rollout.handle.signal("promote", {"by": "ann"})
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE


async def test_what_shows_while_it_is_held_still_goes_back(stage: Stage) -> None:
    async with at_full(stage, bake="PT2S", deadline="PT6S", at_full=(100, 1), stable_is_down=True) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
        rollout.world.stable_is_down = False
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.LATENCY)
