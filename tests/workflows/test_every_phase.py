"""Every phase by every way to be stopped in it, on a real Temporal server with the phase's own work in hand.

What a kill or a freeze of a worker does in each phase needs real processes: `tests/chaos`.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.traffic import Arm
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind
from tests.fixtures.patience import patience, patient, scaled
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.world import STABLE, rollout_brief

BAKING = "baking"
PAUSED = "paused"
GATE: list[dict[str, Any]] = [{"weight": 50, "bake": "PT0.1S", "pause": True}, {"weight": 100}]
AT_ONCE = {"monitoringDuration": "PT0.1S", "bakeDeadline": "PT3S"}
LONG = {"monitoringDuration": "PT60S", "bakeDeadline": "PT120S"}


@dataclass(frozen=True)
class Phase:
    """`weighted` tells whether a weight was published by then, and so how a stop in it has to end.

    `interrupted` tells whether a stop gives up what is in hand. Opening it waits for: it may find that an earlier
    deployment was lost, and left something to take back.
    """

    name: str
    status: S
    weighted: bool
    config: dict[str, Any]
    is_held: bool = True
    has_slot: bool = True
    interrupted: bool = True


PHASES = [
    Phase("pending", S.PENDING, weighted=False, config=LONG, interrupted=False),
    Phase("awaiting approval", S.AWAITING_APPROVAL, weighted=False, config=LONG, is_held=False),
    Phase("waiting for a slot", S.PENDING, weighted=False, config=LONG, is_held=False, has_slot=False),
    Phase("validating", S.VALIDATING, weighted=False, config=LONG),
    Phase("deploying", S.DEPLOYING, weighted=False, config=LONG),
    Phase("weight change in hand", S.PROGRESSING, weighted=True, config=LONG),
    Phase(BAKING, S.PROGRESSING, weighted=True, config=LONG, is_held=False),
    Phase(PAUSED, S.PAUSED, weighted=True, config={**LONG, "steps": GATE}, is_held=False),
    Phase("promoting", S.PROMOTING, weighted=True, config=AT_ONCE),
]
WAYS = ["abort by signal", "abort by update", "cancel", "cancel twice", "deadline"]
DEADLINES = {"progressDeadline": "PT2S", "approvalDeadline": "PT2S"}
GATE_WITH_DEADLINE = {"steps": [{**GATE[0], "pause": {"limit": scaled("PT2S")}}, GATE[1]]}
# A bake's deadline is its data's: test_without_enough_requests_the_bake_is_extended_and_then_rolls_back.
TABLE = [(phase, way) for phase in PHASES for way in WAYS if (phase.name, way) != (BAKING, "deadline")]


async def is_in(phase: Phase, rollout: Rollout) -> None:
    if phase.is_held or not phase.has_slot:
        await asyncio.wait_for(rollout.world.reached.wait(), patient(15))
    elif phase.name == BAKING:
        await rollout.until(lambda world: world.weights == [5_000])
    else:
        await rollout.until(lambda world: world.statuses[-1] is phase.status)
    assert rollout.world.statuses[-1] is phase.status


async def stop(way: str, rollout: Rollout) -> Reason:
    """Say it, and answer the reason that the deployment has to end with."""
    match way:
        case "abort by signal":
            await rollout.handle.signal("abort", {"by": "ann"})
            return Reason.ABORTED
        case "abort by update":
            answer = await rollout.handle.execute_update("abort", {"by": "ann"})
            assert answer["accepted"] is True
            return Reason.ABORTED
        case "cancel":
            await rollout.handle.cancel()
            return Reason.CANCELLED
        case "cancel twice":
            await rollout.handle.cancel()
            await asyncio.sleep(0.2)
            await rollout.handle.cancel()
            return Reason.CANCELLED
        case _:
            return Reason.DEADLINE_EXCEEDED


async def ended(rollout: Rollout, reason: Reason) -> None:
    """A Temporal cancel closes the workflow as cancelled, every other end completes it with its outcome."""
    if reason is Reason.CANCELLED:
        with pytest.raises(WorkflowFailureError):
            await asyncio.wait_for(rollout.handle.result(), patient(30))
        described = await rollout.handle.describe()
        assert described.status is not None
        assert described.status.name == "CANCELED"
    else:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
        assert outcome.reason is reason
    assert rollout.world.reasons[-1] == reason


def assert_undone(rollout: Rollout) -> None:
    world = rollout.world
    assert world.route is not None
    assert (world.route.stable, world.route.candidate) == (STABLE, None)
    assert world.applications == {}
    assert world.active is None
    for weight, applications in world.samples:
        assert weight == 0 or applications, "no weight without replicas to answer"


@pytest.mark.parametrize(("phase", "way"), TABLE, ids=lambda each: getattr(each, "name", each))
async def test_a_stop_in_any_phase_undoes_what_was_begun(stage: Stage, phase: Phase, way: str) -> None:
    config = {**phase.config, **(DEADLINES if way == "deadline" else {})}
    if (phase.name, way) == (PAUSED, "deadline"):
        config |= GATE_WITH_DEADLINE
    held_at = phase.status if phase.is_held else None
    async with stage.rollout(
        config=config,
        approval=phase.status is S.AWAITING_APPROVAL,
        held_at=held_at,
        no_slots=not phase.has_slot,
        queue_deadline=patience(seconds=2) if way == "deadline" else timedelta(days=1),
    ) as rollout:
        await is_in(phase, rollout)
        reason = await stop(way, rollout)
        if not phase.interrupted and reason is not Reason.DEADLINE_EXCEEDED:
            rollout.world.released.set()
        await ended(rollout, reason)
        rollout.world.released.set()
    if phase.weighted:
        assert rollout.world.statuses[-2:] == [S.ROLLING_BACK, S.ROLLED_BACK]
    else:
        assert rollout.world.statuses[-1] is (S.FAILED if reason is Reason.DEADLINE_EXCEEDED else S.CANCELLED)
        assert rollout.world.weights == []
    assert_undone(rollout)


async def test_an_abort_between_the_last_preparation_and_the_first_weight_ends_too(stage: Stage) -> None:
    """A rollback to a warm version: it has started nothing and published nothing, and is `Progressing` all the same."""
    warm = Arm("Production-fraud-warm", "2.0.0", "dep-before")
    brief = replace(rollout_brief(), kind=DeploymentKind.ROLLBACK, warm=warm)
    async with stage.rollout(brief=brief, held_entering=S.PROGRESSING) as rollout:
        await asyncio.wait_for(rollout.world.reached.wait(), patient(15))
        await rollout.handle.signal("abort", {"by": "ann"})
        await ended(rollout, Reason.ABORTED)
        rollout.world.released.set()
    assert rollout.world.statuses[-3:] == [S.PROGRESSING, S.ROLLING_BACK, S.CANCELLED]
    assert {candidate for candidate, _, _ in rollout.world.routed} == {None}


@pytest.mark.parametrize("way", WAYS)
async def test_compensation_is_interrupted_by_nothing(stage: Stage, way: str) -> None:
    deadline = DEADLINES if way == "deadline" else {}
    async with stage.rollout(config={**LONG, **deadline}, held_at=S.ROLLING_BACK) as rollout:
        await rollout.until(lambda world: world.weights == [5_000])
        await rollout.handle.signal("abort", {"by": "ann", "reason": "looks wrong"})
        await asyncio.wait_for(rollout.world.reached.wait(), patient(15))
        if way == "abort by update":
            answer = await rollout.handle.execute_update("abort", {"by": "eve"})
            assert answer["accepted"] is False
            assert "RollingBack" in answer["message"]
        else:
            await stop(way, rollout)
        await asyncio.sleep(patient(2.5) if deadline else 0.5)
        assert rollout.world.statuses[-1] is S.ROLLING_BACK
        rollout.world.released.set()
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ABORTED)
    assert_undone(rollout)


@pytest.mark.parametrize("way", ["abort by signal", "cancel"])
async def test_what_comes_after_the_last_word_changes_nothing(stage: Stage, way: str) -> None:
    async with stage.rollout(config=AT_ONCE, held_at=S.ACTIVE) as rollout:
        await asyncio.wait_for(rollout.world.reached.wait(), patient(15))
        await stop(way, rollout)
        await asyncio.sleep(0.5)
        rollout.world.released.set()
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    assert outcome.status is S.ACTIVE
    assert rollout.world.statuses[-1] is S.ACTIVE
    assert rollout.world.active == "dep-candidate"
    assert rollout.world.route is not None
    assert rollout.world.route.stable is not None
    assert rollout.world.route.stable.deployment_id == "dep-candidate"
