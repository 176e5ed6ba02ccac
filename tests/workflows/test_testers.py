"""Testers have a candidate before it has a weight, and lose it before its replicas go, however that ends."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind
from tests.fixtures.patience import patient
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.world import STABLE, World, rollout_brief

CANDIDATE = "Production-fraud-candidat"
BEFORE = [S.PENDING, S.VALIDATING, S.DEPLOYING, S.PROGRESSING, S.PAUSED]


def waiting_for_testers(limit: str | None = None) -> dict[str, Any]:
    """Wait for an approval at weight 0, and then go on to 100%."""
    pause = {"limit": limit} if limit else True
    steps = [{"weight": 0, "bake": "PT0S", "pause": pause}, {"weight": 50}, {"weight": 100}]
    return {"steps": steps, "canaryPercentage": None, "incrementStep": None}


def assert_testers_had_replicas(world: World) -> None:
    """Over every sample: whatever candidate the route named was there to answer."""
    assert (CANDIDATE, 0) in {(candidate, weight) for candidate, weight, _ in world.routed}
    for candidate, _, applications in world.routed:
        assert candidate is None or candidate in applications


async def test_testers_have_it_before_the_first_weight_and_then_it_goes_its_way(stage: Stage) -> None:
    async with stage.rollout(config=waiting_for_testers()) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
        route = rollout.world.route
        assert route is not None
        assert (route.stable, route.candidate_weight) == (STABLE, 0)
        assert route.candidate is not None
        assert route.candidate.application == CANDIDATE
        assert rollout.world.weights == [], "no weight is reported: nothing but testers reached it"
        await rollout.handle.signal("approve", {"by": "bob", "step": 1})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE
    assert rollout.world.weights == [5_000, TOTAL_WEIGHT, TOTAL_WEIGHT]
    assert_testers_had_replicas(rollout.world)


async def test_a_ramp_too_lets_testers_in_before_its_first_weight(stage: Stage) -> None:
    async with stage.rollout() as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE
    named = [(candidate, weight) for candidate, weight, _ in rollout.world.routed if candidate is not None]
    assert named[:2] == [(CANDIDATE, 0), (CANDIDATE, 5_000)]


ENDS = [
    ("abort", S.CANCELLED, Reason.ABORTED),
    ("cancel", S.CANCELLED, Reason.CANCELLED),
    ("cancel twice", S.CANCELLED, Reason.CANCELLED),
    ("reject", S.CANCELLED, Reason.REJECTED),
    ("limit", S.FAILED, Reason.DEADLINE_EXCEEDED),
]


@pytest.mark.parametrize(("way", "status", "reason"), ENDS)
async def test_what_ends_while_testers_test_takes_it_from_them_first(
    stage: Stage, way: str, status: S, reason: Reason
) -> None:
    async with stage.rollout(config=waiting_for_testers("PT1S" if way == "limit" else None)) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
        await stop(rollout, way)
        await ended(rollout, status, reason)
    assert rollout.world.statuses == [*BEFORE, S.ROLLING_BACK, status], "no weight was published"
    assert_undone(rollout.world)
    assert_testers_had_replicas(rollout.world)


async def test_an_abort_while_testers_are_let_in_undoes_what_may_have_happened(stage: Stage) -> None:
    async with stage.rollout(proxies_silent=True) as rollout:
        await rollout.until(lambda world: world.routed and world.routed[-1][0] == CANDIDATE)
        assert rollout.world.statuses[-1] is S.DEPLOYING
        await rollout.handle.signal("abort", {"by": "ann"})
        await rollout.until(lambda world: world.statuses[-1] is S.ROLLING_BACK)
        assert CANDIDATE in rollout.world.applications, "a proxy may still lead testers to it"
        rollout.world.proxies_silent = False
        await ended(rollout, S.CANCELLED, Reason.ABORTED)
    assert_undone(rollout.world)
    assert_testers_had_replicas(rollout.world)


@pytest.mark.parametrize("kind", ["first of its model", "rollback"])
async def test_what_goes_straight_to_100_is_not_held_up_by_testers(stage: Stage, kind: str) -> None:
    warm = Arm("Production-fraud-before", "2.0.0", "dep-before")
    brief = rollout_brief(stable=None)
    if kind == "rollback":
        brief = replace(rollout_brief(), kind=DeploymentKind.ROLLBACK, warm=warm)
    async with stage.rollout(brief=brief) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE
    assert {weight for candidate, weight, _ in rollout.world.routed if candidate is not None} == {TOTAL_WEIGHT}


async def stop(rollout: Rollout, way: str) -> None:
    match way:
        case "abort":
            await rollout.handle.signal("abort", {"by": "ann"})
        case "reject":
            await rollout.handle.signal("reject", {"by": "ann"})
        case "cancel" | "cancel twice":
            await rollout.handle.cancel()
            if way == "cancel twice":
                await rollout.handle.cancel()


async def ended(rollout: Rollout, status: S, reason: Reason) -> None:
    if reason is Reason.CANCELLED:
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(rollout.handle.result(), patient(20))
    else:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
        assert (outcome.status, outcome.reason) == (status, reason)
    assert rollout.world.reasons[-1] == reason


def assert_undone(world: World) -> None:
    assert world.route is not None
    assert (world.route.stable, world.route.candidate) == (STABLE, None)
    assert (world.applications, world.weights, world.active) == ({}, [], None)
