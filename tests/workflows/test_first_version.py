"""A model's first version goes to 100% at once, and is watched there: nothing could take its place."""

import asyncio

import pytest

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.monitoring import AlertKind
from hotswap.domain.verdict import Outcome, Reason
from tests.fixtures.patience import patient
from tests.workflows.conftest import Stage
from tests.workflows.test_deployment import CANDIDATE, FORWARD
from tests.workflows.world import RARE, World, rollout_brief

FIRST = rollout_brief(stable=None)
LONG = {"monitoringDuration": "PT60S"}


def assert_serves_on(world: World) -> None:
    assert world.route is not None
    assert world.route.candidate is not None
    assert (world.route.candidate.application, world.route.candidate_weight) == (CANDIDATE, 10_000)
    assert list(world.applications) == [CANDIDATE]
    assert world.weights == [10_000]


async def test_a_good_one_is_watched_for_its_time_and_then_active(stage: Stage) -> None:
    async with stage.rollout(brief=FIRST) as rollout:
        outcome = await rollout.handle.result()
    world = rollout.world
    assert outcome.status is S.ACTIVE
    assert world.weights == [10_000, 10_000]
    assert world.verdicts[0].outcome is Outcome.PASS
    (bake, _), (_, last) = world.observations[0], world.observations[-1]
    assert last.at - bake.begun_at >= 1.0
    assert world.alerts.raised == []


async def test_one_that_fails_ends_as_failed_and_goes_on_serving_with_an_alert(stage: Stage) -> None:
    async with stage.rollout(brief=FIRST, candidate_errors=0.5, config=LONG) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    world = rollout.world
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.LIMIT)
    assert "goes on serving" in outcome.message
    assert world.statuses == [*FORWARD, S.FAILED]
    assert_serves_on(world)
    assert world.active is None, "no pointer calls it a good version"
    assert world.alerts.raised == [("dep-candidate", AlertKind.FIRST_VERSION, outcome.message)]


async def test_one_that_nobody_asks_is_told_and_active(stage: Stage) -> None:
    async with stage.rollout(brief=FIRST, requests_per_second=RARE) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE
    (told,) = [message for kind, _, message in rollout.world.decisions if kind == "first version"]
    assert "can't be told" in told
    assert "fewer than 20 requests" in told


async def test_one_that_nobody_can_watch_is_told_and_active(stage: Stage) -> None:
    async with stage.rollout(brief=FIRST, is_unwatched=True, candidate_errors=1.0) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(60))
    assert outcome.status is S.ACTIVE
    assert any("the watch" in message for kind, _, message in rollout.world.decisions if kind == "first version")


async def test_a_person_ends_the_watch_either_way(stage: Stage) -> None:
    for verb, end in (("promote", S.ACTIVE), ("abort", S.ROLLED_BACK)):
        async with stage.rollout(brief=FIRST, config=LONG) as rollout:
            await rollout.until(lambda world: 0 in world.verdicts)  # before the bake there is nothing to promote
            await rollout.handle.execute_update(verb, {"by": "ann"})
            outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
        assert outcome.status is end


async def test_one_that_fails_while_it_is_paused_has_failed(stage: Stage) -> None:
    async with stage.rollout(brief=FIRST, config=LONG) as rollout:
        await rollout.until(lambda world: world.weights == [10_000])
        await rollout.handle.execute_update("pause", {"by": "ann"})
        await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
        rollout.world.candidate_errors = 0.9
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.LIMIT)
    assert_serves_on(rollout.world)


@pytest.mark.parametrize("errors", [0.0, 1.0])
async def test_with_no_time_to_be_watched_a_first_version_is_active_at_once(stage: Stage, errors: float) -> None:
    config = {"firstVersion": {"monitoringDuration": "PT0S"}}
    async with stage.rollout(brief=FIRST, config=config, candidate_errors=errors) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE
    assert rollout.world.verdicts == {}
