"""What people suffer from elsewhere (docs/complaints.md), where it is the workflow that must not do it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Outcome, Reason
from hotswap.ports import Judging
from tests.fixtures.patience import patient
from tests.workflows.conftest import Stage
from tests.workflows.world import STABLE, World
from workflows.deployment import rollout as rollout_loop


def assert_back_at_the_stable(world: World) -> None:
    assert world.route is not None
    assert (world.route.stable, world.route.candidate) == (STABLE, None)
    assert (world.applications, world.active) == ({}, None)


async def test_a_crash_loop_is_not_taken_for_progress(stage: Stage) -> None:
    """Each start looks like a success for a moment; the deadline is the phase's and not the start's."""
    async with stage.rollout(replicas_crash=True, config={"progressDeadline": "PT6S"}) as rollout:
        # Where each start had a deadline of its own it would go on for ever.
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(60))
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "nobody listens there, after start" in outcome.message
    assert int(outcome.message.rpartition(" ")[2]) > 1, "it was tried again, and the deadline didn't move"
    assert rollout.world.weights == []
    assert_back_at_the_stable(rollout.world)


def broken_judge(*_: Any, **__: Any) -> Judging:
    raise ZeroDivisionError("no such metric")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_loop, "BAKE_GRACE", timedelta(seconds=1))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", ["a metric throws", "nobody analyses"])
@pytest.mark.parametrize("then", ["rollback", "hold"])
async def test_an_analysis_that_fails_or_never_runs_is_no_success(stage: Stage, how: str, then: str) -> None:
    switches: dict[str, Any] = {"judge": broken_judge} if how == "a metric throws" else {"is_unwatched": True}
    config = {"bakeDeadline": "PT1S", "onNoVerdict": then, "pauseDeadline": "PT1S"}
    async with stage.rollout(config=config, **switches) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(30))
    reason = Reason.ANALYSIS_FAILED if then == "rollback" else Reason.DEADLINE_EXCEEDED
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, reason)
    assert (S.PAUSED in rollout.world.statuses) == (then == "hold")
    assert rollout.world.weights == [5_000, 0], "not one step further"
    assert_back_at_the_stable(rollout.world)


@pytest.mark.parametrize("then", ["rollback", "hold"])
async def test_without_any_traffic_nothing_is_promoted(stage: Stage, then: str) -> None:
    config = {"onNoVerdict": then, "bakeDeadline": "PT2S", "pauseDeadline": "PT1S"}
    async with stage.rollout(requests_per_second=0.0, config=config) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    reason = Reason.INSUFFICIENT_DATA if then == "rollback" else Reason.DEADLINE_EXCEEDED
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, reason)
    assert {verdict.outcome for verdict in rollout.world.verdicts.values()} == {Outcome.INSUFFICIENT_DATA}
    assert rollout.world.weights == [5_000, 0]
    assert_back_at_the_stable(rollout.world)
