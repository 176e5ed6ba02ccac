"""Whose approval lets a deployment go on where four eyes are asked for, and what becomes of one that nobody gives."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hotswap.domain.approval import FourEyes
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Reason
from tests.fixtures.patience import patient, scaled
from tests.workflows.conftest import Rollout, Stage

STEPS = [{"weight": 20, "bake": "PT1S", "pause": {"limit": scaled("PT3S")}}, {"weight": 100, "bake": "PT1S"}]


async def waits(rollout: Rollout) -> None:
    await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)


async def approve(rollout: Rollout, **said: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await rollout.handle.execute_update("approve", said)
    return answer


async def test_only_a_checked_name_that_is_another_lets_it_go_on(stage: Stage) -> None:
    async with stage.rollout(approval=True, four_eyes=FourEyes()) as rollout:
        await waits(rollout)
        await rollout.handle.signal("approve", {"by": "bob"})
        assert "not through Temporal" in await rollout.refusal("approve", by="bob")
        own = await rollout.refusal("approve", by="ann", via="api", proof="whatever")
        assert "somebody else has to approve it" in own
        assert rollout.world.approvals == []
        rollout.world.proofs["bob"] = "dep-bbbb/1"
        assert (await approve(rollout, by="bob", via="api", proof="dep-bbbb/1"))["accepted"]
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE
    assert rollout.world.approvals == [("bob", False)]
    on_record = [actor for kind, actor, message in rollout.world.decisions if "approve had no effect" in message]
    assert on_record == ["bob (claimed)"], "the signal; the API puts on record which updates were refused"


@pytest.mark.parametrize("proof", [None, "dep-bbbb/of-another"])
async def test_who_pretends_to_be_the_api_starts_nothing(stage: Stage, proof: str | None) -> None:
    async with stage.rollout(approval=True, four_eyes=FourEyes()) as rollout:
        await waits(rollout)
        await approve(rollout, by="bob", via="api", **({} if proof is None else {"proof": proof}))
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.FAILED
    assert "nothing proves that bob approved" in outcome.message
    assert (rollout.world.approvals, rollout.world.weights) == ([], [])


async def test_a_claimed_name_counts_where_that_is_wanted_but_not_ones_own(stage: Stage) -> None:
    async with stage.rollout(approval=True, four_eyes=FourEyes(count_claimed=True)) as rollout:
        await waits(rollout)
        assert "somebody else has to approve it" in await rollout.refusal("approve", by="ann")
        await rollout.handle.signal("approve", {"by": "bob"})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert outcome.status is S.ACTIVE
    assert rollout.world.approvals == [("bob", True)]


async def test_a_start_that_nobody_approves_in_time_never_begins(stage: Stage) -> None:
    async with stage.rollout(approval=True, config={"approvalDeadline": "PT1S"}) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.DEADLINE_EXCEEDED)
    assert f"nobody approved it within {timedelta(seconds=round(patient(1), 2))}" in outcome.message
    assert rollout.world.weights == []


async def test_a_step_that_nobody_approves_in_time_goes_back(stage: Stage) -> None:
    async with stage.rollout(config={"steps": STEPS}, four_eyes=FourEyes()) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.PAUSED)
        assert "not through Temporal" in await rollout.refusal("approve", by="bob")
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.DEADLINE_EXCEEDED)
    assert rollout.world.weights == [2_000, 0]
