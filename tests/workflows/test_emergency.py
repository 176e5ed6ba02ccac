"""A deployment in an emergency: validated, warmed up and ready, and then at 100% without a bake."""

import asyncio
import json
from typing import Any

import pytest

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.monitoring import AlertKind
from hotswap.domain.validation import ValidationCheck, ValidationReport
from hotswap.domain.verdict import Reason
from tests.fixtures.patience import patient
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.test_backtest import differing, failing, refusing, trying
from tests.workflows.test_deployment import CANDIDATE, FORWARD
from tests.workflows.world import rollout_brief

WHY = "checkout is down"
LONG = {"monitoringDuration": "PT1H", "bakeDeadline": "PT2H"}


async def timers(rollout: Rollout) -> list[str]:
    """The summaries of the durable timers, such as a bake's."""
    return [
        json.loads(event.user_metadata.summary.data or b'""')
        async for event in rollout.handle.fetch_history_events()
        if event.HasField("timer_started_event_attributes")
    ]


@pytest.mark.parametrize("replies", [refusing, failing, differing])
async def test_it_goes_to_100_at_once_and_its_backtest_is_told_and_holds_nothing(stage: Stage, replies: Any) -> None:
    async with trying(stage, candidate_replies=replies, config=LONG, emergency=WHY, candidate_errors=1.0) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
        world = rollout.world
        assert await timers(rollout) == []
    assert outcome.status is S.ACTIVE
    assert world.statuses == [*FORWARD, S.PROMOTING, S.ACTIVE]
    assert world.weights == [10_000, 10_000]
    assert world.warmed_up == [f"{CANDIDATE}: 1"]
    assert world.verdicts == {}, "nothing was judged"
    assert len(world.backtests) == 1
    assert [kind for kind, _, _ in world.decisions].count("backtest") == 1
    ((deployment_id, kind, message),) = world.alerts.raised
    assert (deployment_id, kind) == ("dep-candidate", AlertKind.EMERGENCY)
    assert message.endswith(f"without a bake, asked for by ann: {WHY}")


async def test_records_that_cannot_be_read_hold_it_up_for_seconds_only(stage: Stage) -> None:
    async with trying(stage, config={**LONG, "progressDeadline": "PT1H"}, emergency=WHY, records_fail=999) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(60))
    assert outcome.status is S.ACTIVE
    told = [message for kind, _, message in rollout.world.decisions if kind == "backtest"]
    assert "an emergency doesn't wait for it" in told[0]


async def test_it_waits_for_no_slot(stage: Stage) -> None:
    async with stage.rollout(config=LONG, emergency=WHY, no_slots=True) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    assert outcome.status is S.ACTIVE


async def test_what_fails_its_validation_is_not_let_in(stage: Stage) -> None:
    report = ValidationReport((ValidationCheck("model loads", False, "not a graph"),))
    async with stage.rollout(report=report, emergency=WHY) as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.VALIDATION_FAILED)
    assert rollout.world.alerts.raised == []


async def test_its_start_is_approved_where_the_environment_asks_for_that(stage: Stage) -> None:
    async with stage.rollout(config=LONG, emergency=WHY, approval=True) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)
        await rollout.handle.execute_update("approve", {"by": "bob"})
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    assert outcome.status is S.ACTIVE
    assert rollout.world.approvals == [("bob", True)]


async def test_a_first_version_is_not_watched_in_an_emergency(stage: Stage) -> None:
    async with stage.rollout(brief=rollout_brief(stable=None), config=LONG, emergency=WHY) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    assert outcome.status is S.ACTIVE
    assert rollout.world.verdicts == {}
