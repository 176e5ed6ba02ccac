"""What people say, on a real Temporal server: each effect as it shows in traffic and status, and each refusal told.

Which verb has which effect in which phase is a table of its own, `tests/unit/domain/test_verbs.py`.
"""

import asyncio
from typing import Any

import pytest

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Reason
from tests.fixtures.patience import patient, scaled
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.world import RARE

LONG = {"monitoringDuration": "PT60S", "bakeDeadline": "PT120S"}
NO_EFFECT_BEFORE_A_WEIGHT = ("approve", "reject", "resume", "promote", "goto", "retry", "scale")

NUMBERS = {"goto": {"step": 1}, "scale": {"replicas": 2}}


async def ask(rollout: Rollout, verb: str, **said: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await rollout.handle.execute_update(verb, {"by": "ann", "via": "api", **said})
    return answer


async def accepted(rollout: Rollout, verb: str, **said: Any) -> None:
    answer = await ask(rollout, verb, **said)
    assert answer["accepted"] is True, answer


async def refused(rollout: Rollout, verb: str, why: str, **said: Any) -> None:
    assert why in await rollout.refusal(verb, by="ann", via="api", **said)


async def is_in(rollout: Rollout, status: S) -> None:
    await rollout.until(lambda world: world.statuses[-1] is status)


@pytest.mark.parametrize("how", ["update", "signal"])
async def test_a_pause_stays_at_its_weight_until_it_is_resumed(stage: Stage, how: str) -> None:
    async def say(verb: str) -> None:
        if how == "update":
            await accepted(rollout, verb)
        else:
            await rollout.handle.signal(verb, {"by": "ann"})

    async with stage.rollout(config={"monitoringDuration": scaled("PT2S")}) as rollout:
        await rollout.bakes_at(5_000)
        await say("pause")
        await is_in(rollout, S.PAUSED)
        await asyncio.sleep(patient(2.5))
        assert rollout.world.weights == [5_000], "longer than its bake, and no step further"
        await refused(rollout, "pause", "paused already")
        await say("resume")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE
    assert rollout.world.weights == [5_000, 5_000, 10_000, 10_000], "the step began anew, verified again"
    assert rollout.world.statuses[4:6] == [S.PAUSED, S.PROGRESSING]
    assert {"pause", "resume"} <= {kind for kind, _, _ in rollout.world.decisions}


@pytest.mark.parametrize("said", [{"by": "ann", "reason": "late labels"}, "no object"])
async def test_a_rollback_by_that_name_is_an_abort_also_where_it_could_not_be_read(stage: Stage, said: Any) -> None:
    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        await rollout.handle.signal("rollback", said)
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ROLLBACK_REQUESTED)
    assert rollout.world.weights[-1] == 0


async def test_a_pause_before_the_first_weight_publishes_none(stage: Stage) -> None:
    async with stage.rollout(held_at=S.DEPLOYING) as rollout:
        await asyncio.wait_for(rollout.world.reached.wait(), patient(15))
        await accepted(rollout, "pause")
        rollout.world.released.set()
        await is_in(rollout, S.PAUSED)
        assert rollout.world.weights == []
        await refused(rollout, "promote", "no bake has begun")
        await accepted(rollout, "resume")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE


async def test_harm_ends_a_pause(stage: Stage) -> None:
    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        await accepted(rollout, "pause")
        await is_in(rollout, S.PAUSED)
        rollout.world.candidate_errors = 0.5
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ERROR_RATE)


async def test_what_has_no_effect_is_on_record_while_the_bake_goes_on(stage: Stage) -> None:
    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        await rollout.handle.signal("resume", {"by": "ann"})
        await rollout.until(lambda world: any(kind == "resume" for kind, _, _ in world.decisions), seconds=5)
        assert rollout.world.weights == [5_000]
        await rollout.handle.signal("abort", {"by": "eve", "reason": "enough"})
        await rollout.handle.result()
    assert ("abort", "eve (claimed)") in {(kind, actor) for kind, actor, _ in rollout.world.decisions}


async def test_a_pause_that_nobody_ends_goes_back(stage: Stage) -> None:
    async with stage.rollout(config={**LONG, "pauseDeadline": "PT1S"}) as rollout:
        await rollout.bakes_at(5_000)
        await accepted(rollout, "pause")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.DEADLINE_EXCEEDED)
    assert f"nobody spoke within {round(patient(1), 2):g} s: paused" in outcome.message


STEPS = [{"weight": 20, "bake": "PT1S", "pause": True}, {"weight": 60, "bake": "PT1S"}, {"weight": 100, "bake": "PT1S"}]


async def test_a_step_waits_for_its_own_approval(stage: Stage) -> None:
    async with stage.rollout(config={"steps": STEPS}) as rollout:
        await is_in(rollout, S.PAUSED)
        assert rollout.world.weights == [2_000]
        await refused(rollout, "approve", "step 2 doesn't wait for one; step 1 does", step=2)
        await refused(rollout, "promote", "approve or reject the step")
        await refused(rollout, "promote", "can't be passed over", full=True)
        await refused(rollout, "goto", "can't be passed over", step=3)
        await refused(rollout, "resume", "approve or reject the step")
        await rollout.handle.signal("approve", {"by": "ann", "step": 1})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE
    assert rollout.world.weights == [2_000, 6_000, 10_000, 10_000]
    assert rollout.world.approvals == [("ann", True)]


async def test_a_step_that_is_rejected_goes_back(stage: Stage) -> None:
    async with stage.rollout(config={"steps": STEPS}) as rollout:
        await is_in(rollout, S.PAUSED)
        await accepted(rollout, "reject", reason="not on a Friday")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.REJECTED)
    assert "not on a Friday" in outcome.message


async def test_what_came_to_no_verdict_is_judged_again_when_asked(stage: Stage) -> None:
    config = {"onNoVerdict": "hold", "monitoringDuration": "PT1S", "bakeDeadline": "PT1S"}
    async with stage.rollout(config=config, requests_per_second=RARE) as rollout:
        await is_in(rollout, S.PAUSED)
        await refused(rollout, "resume", "retry judges again")
        rollout.world.requests_per_second = 500.0
        await accepted(rollout, "retry")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE
    assert rollout.world.weights == [5_000, 5_000, 10_000, 10_000]


async def test_promote_goes_on_from_a_pause_and_goto_where_it_is_told(stage: Stage) -> None:
    steps = [{"weight": weight} for weight in (10, 20, 30, 100)]
    async with stage.rollout(config={**LONG, "steps": steps}) as rollout:
        await rollout.bakes_at(1_000)
        await refused(rollout, "goto", "its steps are 1 to 4", step=5)
        await accepted(rollout, "goto", step=3)
        await rollout.bakes_at(1_000, 3_000)
        await accepted(rollout, "goto", step=2)
        await rollout.bakes_at(1_000, 3_000, 2_000)
        await accepted(rollout, "pause")
        await is_in(rollout, S.PAUSED)
        await accepted(rollout, "promote")
        await rollout.bakes_at(1_000, 3_000, 2_000, 3_000)
        await accepted(rollout, "promote", full=True)
        await rollout.bakes_at(1_000, 3_000, 2_000, 3_000, 10_000)
        await accepted(rollout, "promote")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE


async def test_a_word_that_falls_into_the_beginning_of_a_pause_is_not_missed(stage: Stage) -> None:
    steps = [{"weight": weight} for weight in (10, 100)]
    async with stage.rollout(config={**LONG, "steps": steps}, held_entering=S.PAUSED) as rollout:
        await rollout.bakes_at(1_000)
        await accepted(rollout, "pause")
        await is_in(rollout, S.PAUSED)
        await accepted(rollout, "promote")
        rollout.world.released.set()
        await rollout.bakes_at(1_000, 10_000)
        await accepted(rollout, "promote")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE


async def test_a_word_that_falls_into_the_end_of_a_pause_is_not_missed(stage: Stage) -> None:
    steps = [{"weight": weight} for weight in (10, 20, 100)]
    async with stage.rollout(config={**LONG, "steps": steps}) as rollout:
        await rollout.bakes_at(1_000)
        await accepted(rollout, "pause")
        await is_in(rollout, S.PAUSED)
        rollout.world.held_entering = S.PROGRESSING
        await accepted(rollout, "resume")
        await is_in(rollout, S.PROGRESSING)
        await accepted(rollout, "goto", step=2)
        rollout.world.released.set()
        await rollout.bakes_at(1_000, 2_000)
        await accepted(rollout, "promote", full=True)
        await rollout.bakes_at(1_000, 2_000, 10_000)
        await accepted(rollout, "promote")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE


@pytest.mark.parametrize("status", [S.VALIDATING, S.DEPLOYING, S.PROMOTING])
async def test_what_has_no_effect_is_told_why_and_kept(stage: Stage, status: S) -> None:
    config = {"monitoringDuration": "PT0.1S", "bakeDeadline": "PT3S"}
    async with stage.rollout(config=config, held_at=status) as rollout:
        await asyncio.wait_for(rollout.world.reached.wait(), patient(20))
        for verb in NO_EFFECT_BEFORE_A_WEIGHT:
            said = {"by": "ann", **NUMBERS.get(verb, {})}
            assert (await rollout.refusal(verb, **said)).startswith(f"dep-candidate is {status}, and ")
            await rollout.handle.signal(verb, said)
        rollout.world.released.set()
        await asyncio.wait_for(rollout.handle.result(), patient(20))
    kept = {kind for kind, _, message in rollout.world.decisions if "had no effect" in message}
    assert kept == set(NO_EFFECT_BEFORE_A_WEIGHT)


@pytest.mark.parametrize("said", [{}, {"by": "ann"}, {"by": "ann", "step": "two"}, {"by": "ann", "step": 0}])
async def test_a_step_that_could_not_be_read_is_refused_with_the_field(stage: Stage, said: dict[str, Any]) -> None:
    async with stage.rollout(config=LONG) as rollout:
        await rollout.bakes_at(5_000)
        assert "step" in await rollout.refusal("goto", **said) or said == {}
        await rollout.handle.signal("abort", {"by": "ann"})
        await rollout.handle.result()
