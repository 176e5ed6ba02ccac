"""What a larger weight has in flight is not counted by the smaller one after it."""

import asyncio
from typing import Any

import pytest

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Outcome
from hotswap.messages import SetWeight
from hotswap.process.temporal import DATA_CONVERTER
from tests.fixtures.patience import patient
from tests.workflows.conftest import Rollout, Stage

STEPS = {
    "steps": [{"weight": 10}, {"weight": 90, "bake": "PT60S"}],
    "monitoringDuration": "PT2S",
    "bakeDeadline": "PT120S",
}
LATE: dict[str, Any] = {"hanging": 40, "hang_seconds": 1.0}
"""As many failures of ten times the share, within one step of the smaller one, are evidence of harm."""


async def back_at_the_first_step(rollout: Rollout) -> None:
    await rollout.until(lambda world: world.weights[-1:] == [9_000])
    rollout.world.verdicts.pop(0)
    await rollout.handle.execute_update("goto", {"by": "ann", "step": 1})
    await rollout.until(lambda world: 0 in world.verdicts and len(world.verdicts[0].metrics) > 0)
    await rollout.until(lambda world: world.weights[-1] == 9_000 and world.weights.count(9_000) == 2)


@pytest.mark.parametrize("tells", [True, False], ids=["the proxy tells what is in flight", "it doesn't"])
async def test_going_back_a_step_counts_no_failure_that_was_in_flight(stage: Stage, tells: bool) -> None:
    async with stage.rollout(config=STEPS, tells_what_is_active=tells, **LATE) as rollout:
        await asyncio.wait_for(back_at_the_first_step(rollout), patient(40))
        world = rollout.world
        assert world.verdicts[0].outcome is Outcome.PASS
        assert world.verdicts[0].candidate.errors == 0
        assert world.in_flight[0][1] == 40, "there were some"
        await rollout.handle.execute_update("abort", {"by": "ann"})
        assert (await rollout.handle.result()).status is S.ROLLED_BACK


async def test_only_a_smaller_weight_waits(stage: Stage) -> None:
    async with stage.rollout(config=STEPS) as rollout:
        await asyncio.wait_for(back_at_the_first_step(rollout), patient(40))
        await rollout.handle.execute_update("abort", {"by": "ann"})
        await rollout.handle.result()
        assert await settling(rollout) == [(0, False), (1_000, False), (9_000, False), (1_000, True), (9_000, False)]


async def settling(rollout: Rollout) -> list[tuple[int, bool]]:
    """Each weight that was asked for, and whether its counts were to begin when nothing was in flight any more."""
    asked = []
    async for event in rollout.handle.fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == "set_weight":
            (message,) = await DATA_CONVERTER.decode(scheduled.input.payloads, [SetWeight])
            asked.append((message.share, message.settles))
    return asked
