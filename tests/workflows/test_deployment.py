"""The deployment workflow on a real Temporal server: forward, and back from wherever something goes wrong."""

import asyncio
from dataclasses import replace

import pytest
from temporalio.client import WorkflowFailureError

from hotswap.domain.contract import Contract
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.traffic import Arm
from hotswap.domain.validation import CheckName, Override, ValidationCheck, ValidationReport, completed
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind
from tests.fixtures.patience import patient
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.world import RARE, STABLE, World, rollout_brief

FORWARD = [S.PENDING, S.VALIDATING, S.DEPLOYING, S.PROGRESSING]
CANDIDATE = "Production-fraud-candidat"


def assert_replicas_outlived_their_traffic(world: World) -> None:
    """Invariant 4, over every sample of the run: no weight without replicas to answer."""
    for weight, applications in world.samples:
        assert weight == 0 or CANDIDATE in applications


def assert_rolled_back(rollout: Rollout) -> None:
    world = rollout.world
    assert world.route is not None
    assert world.route.stable == STABLE
    assert world.route.candidate is None
    assert world.applications == {}
    assert world.active is None
    assert_replicas_outlived_their_traffic(world)


async def test_a_good_candidate_steps_to_100_and_becomes_the_stable(stage: Stage) -> None:
    async with stage.rollout() as rollout:
        outcome = await rollout.handle.result()
    world = rollout.world
    assert outcome.status == S.ACTIVE
    assert world.statuses == [*FORWARD, S.PROMOTING, S.ACTIVE]
    assert world.weights == [5_000, 10_000, 10_000]
    assert world.route is not None
    assert world.route.stable is not None
    assert world.route.stable.application == CANDIDATE
    assert world.route.candidate is None
    assert world.active == "dep-candidate"
    assert sorted(world.verdicts) == [0, 1]
    assert_replicas_outlived_their_traffic(world)


async def test_the_first_deployment_of_a_model_goes_straight_to_100(stage: Stage) -> None:
    async with stage.rollout(brief=rollout_brief(stable=None)) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status == S.ACTIVE
    assert rollout.world.weights == [10_000, 10_000]


async def test_a_rollback_goes_back_to_the_warm_version_unjudged(stage: Stage) -> None:
    warm = Arm("Production-fraud-warm", "2.0.0", "dep-before")
    brief = replace(rollout_brief(), kind=DeploymentKind.ROLLBACK, warm=warm)
    async with stage.rollout(brief=brief, candidate_errors=1.0) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status == S.ACTIVE
    assert rollout.world.statuses == [S.PENDING, S.DEPLOYING, S.PROGRESSING, S.PROMOTING, S.ACTIVE]
    assert rollout.world.route is not None
    assert rollout.world.route.stable == warm
    assert rollout.world.verdicts == {}


async def test_a_rollback_to_a_version_that_is_gone_starts_it_again_and_then_moves_the_traffic(stage: Stage) -> None:
    brief = replace(rollout_brief(), kind=DeploymentKind.ROLLBACK, warm=None)
    async with stage.rollout(brief=brief, candidate_errors=1.0) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status == S.ACTIVE
    assert CANDIDATE in rollout.world.applications
    assert rollout.world.weights == [10_000, 10_000]
    assert rollout.world.verdicts == {}
    assert_replicas_outlived_their_traffic(rollout.world)


async def test_failing_requests_roll_back_before_the_bake_ends(stage: Stage) -> None:
    config = {"monitoringDuration": "PT60S", "bakeDeadline": "PT120S"}
    async with stage.rollout(candidate_errors=0.5, config=config) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(20))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ERROR_RATE)
    assert_rolled_back(rollout)


async def test_a_bake_goes_on_for_as_long_as_its_evidence_needs_and_says_so(stage: Stage) -> None:
    config = {"monitoringDuration": "PT2S", "bakeDeadline": "PT60S"}
    async with stage.rollout(config=config, candidate_errors=0.025) as rollout:
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(60))
    told = [message for kind, _, message in rollout.world.decisions if kind == "bake extended"]
    assert told
    assert all("the bake of step 1 goes on for" in each and "more requests of the candidate" in each for each in told)
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ERROR_RATE)
    last = rollout.world.verdicts[0]
    assert last.bake_until is not None
    assert last.bake_until > rollout.world.observations[0][0].begun_at + 2.5, "on record, where people see when it ends"


async def test_without_enough_requests_the_bake_is_extended_and_then_rolls_back(stage: Stage) -> None:
    async with stage.rollout(requests_per_second=RARE) as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.INSUFFICIENT_DATA)
    assert_rolled_back(rollout)


async def test_a_failed_validation_ends_before_anything_is_started(stage: Stage) -> None:
    report = ValidationReport((ValidationCheck("model loads", False, "not a graph"),))
    async with stage.rollout(report=report) as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.VALIDATION_FAILED)
    assert "not a graph" in outcome.message
    assert rollout.world.statuses == [S.PENDING, S.VALIDATING, S.FAILED]
    assert rollout.world.samples == []


@pytest.mark.parametrize(("may_narrow", "end"), [(False, S.FAILED), (True, S.ACTIVE)])
async def test_a_narrower_contract_ends_before_anything_is_started_unless_it_was_accepted(
    stage: Stage, may_narrow: bool, end: S
) -> None:
    wide = Contract("0.9.0", {}, {}, may_narrow=may_narrow)
    report = completed([ValidationCheck(CheckName.LOADS, True, "in 0.1 s")])
    async with stage.rollout(report=report, contract=wide) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is end
    if not may_narrow:
        assert outcome.reason is Reason.VALIDATION_FAILED
        assert "contract: narrower than 0.9.0, which serves: features: the stable takes" in outcome.message
        assert "--accept-contract-change" in outcome.message
        assert rollout.world.statuses == [S.PENDING, S.VALIDATING, S.FAILED]


async def test_what_an_admin_let_pass_does_not_stop_it(stage: Stage) -> None:
    report = ValidationReport(
        (
            ValidationCheck(CheckName.LOADS, True, "in 0.1 s"),
            ValidationCheck(CheckName.LATENCY, False, "30 ms, of less than 24 ms"),
        )
    )
    override = Override((CheckName.LATENCY,), by="root", reason="slower by design")
    async with stage.rollout(report=report, override=override) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE


async def test_replicas_that_cannot_start_are_removed_and_the_reason_is_told(stage: Stage) -> None:
    async with stage.rollout(replicas_fail="no such module") as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.REPLICAS_FAILED)
    assert "no such module" in outcome.message
    assert_rolled_back(rollout)


async def test_replicas_that_never_come_are_given_up_at_the_deadline(stage: Stage) -> None:
    async with stage.rollout(replicas_hang=True, config={"progressDeadline": "PT2S"}) as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.DEADLINE_EXCEEDED)
    assert_rolled_back(rollout)


async def test_a_silent_proxy_holds_the_step_until_the_deadline(stage: Stage) -> None:
    async with stage.rollout(config={"progressDeadline": "PT2S"}) as rollout:
        await rollout.until(lambda world: world.weights == [5_000])
        rollout.world.proxies_silent = True
        await rollout.until(lambda world: S.ROLLING_BACK in world.statuses)
        assert rollout.world.weights == [5_000]
        assert CANDIDATE in rollout.world.applications, "its replicas stay until every proxy has confirmed"
        rollout.world.proxies_silent = False
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.DEADLINE_EXCEEDED)
    assert "envoy-0" in outcome.message
    assert_rolled_back(rollout)


async def test_a_proxy_that_is_silent_from_the_start_ends_it_before_any_weight(stage: Stage) -> None:
    async with stage.rollout(proxies_silent=True, config={"progressDeadline": "PT2S"}) as rollout:
        await rollout.until(lambda world: S.ROLLING_BACK in world.statuses)
        assert CANDIDATE in rollout.world.applications, "its replicas stay until every proxy has confirmed"
        rollout.world.proxies_silent = False
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "envoy-0" in outcome.message
    assert rollout.world.weights == []
    assert_rolled_back(rollout)


LONG = {"monitoringDuration": "PT60S", "bakeDeadline": "PT120S"}


@pytest.mark.parametrize("way", ["signal", "update", "malformed signal", "two inputs"])
async def test_abort_takes_the_traffic_away_at_once(stage: Stage, way: str) -> None:
    async with stage.rollout(config=LONG) as rollout:
        await rollout.until(lambda world: world.weights == [5_000])
        match way:
            case "signal":
                await rollout.handle.signal("abort", {"by": "ann", "reason": "looks wrong"})
            case "update":
                answer = await rollout.handle.execute_update("abort", {"by": "ann"})
                assert answer["accepted"] is True
            case "malformed signal":
                await rollout.handle.signal("abort", {"bye": 3})
            case _:
                await rollout.handle.signal("abort", args=["a", 2])
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(10))
    assert (outcome.status, outcome.reason) == (S.ROLLED_BACK, Reason.ABORTED)
    assert_rolled_back(rollout)


async def test_abort_while_replicas_start_never_publishes_a_weight(stage: Stage) -> None:
    async with stage.rollout(replicas_hang=True) as rollout:
        await rollout.until(lambda world: CANDIDATE in world.applications)
        await rollout.handle.signal("abort", {"by": "ann"})
        outcome = await rollout.handle.result()
    assert outcome.status == S.CANCELLED
    assert rollout.world.weights == []
    assert rollout.world.applications == {}


async def test_a_cancel_compensates_and_then_closes_cancelled(stage: Stage) -> None:
    async with stage.rollout(config=LONG, withdraw_fails=2) as rollout:
        await rollout.until(lambda world: world.weights == [5_000])
        await rollout.handle.cancel()
        await asyncio.sleep(0.3)
        await rollout.handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await rollout.handle.result()
        description = await rollout.handle.describe()
    assert description.status is not None
    assert description.status.name == "CANCELED"
    assert rollout.world.statuses[-2:] == [S.ROLLING_BACK, S.ROLLED_BACK]
    assert_rolled_back(rollout)


async def test_promote_ends_the_bake_and_nothing_else_is_skipped(stage: Stage) -> None:
    async with stage.rollout(config=LONG) as rollout:
        for weights in ((5_000,), (5_000, 10_000)):
            await rollout.bakes_at(*weights)
            answer = await rollout.handle.execute_update("promote", {"by": "ann", "via": "api"})
            assert answer["accepted"], answer
        outcome = await asyncio.wait_for(rollout.handle.result(), patient(10))
    assert outcome.status == S.ACTIVE
    assert ("promote", "ann") in {(kind, actor) for kind, actor, _ in rollout.world.decisions}


async def test_a_start_that_needs_approval_waits_for_it(stage: Stage) -> None:
    async with stage.rollout(approval=True) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)
        await rollout.handle.signal("approve", {"by": "ann", "step": 7})
        await rollout.handle.signal("approve", [])
        await rollout.handle.signal("aprove", {"by": "ann"})
        assert rollout.world.approvals == []
        await rollout.handle.signal("approve", {"by": "ann"})
        outcome = await rollout.handle.result()
    assert outcome.status == S.ACTIVE
    assert rollout.world.approvals == [("ann", True)]
    said = " ".join(message for _, _, message in rollout.world.decisions)
    assert "step 7" in said
    assert "'aprove' is not known" in said
    assert "takes a JSON object" in said


async def test_a_rejected_start_is_cancelled(stage: Stage) -> None:
    async with stage.rollout(approval=True) as rollout:
        await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)
        await rollout.handle.signal("reject", {"by": "ann", "reason": "not today"})
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.CANCELLED, Reason.REJECTED)
    assert "not today" in outcome.message


async def test_a_malformed_start_fails_at_once_instead_of_wedging(stage: Stage) -> None:
    async with stage.rollout() as rollout:
        queue = (await rollout.handle.describe()).task_queue
        handle = await stage.client.start_workflow("Deployment", {"model": 3}, id="malformed", task_queue=queue)
        with pytest.raises(WorkflowFailureError) as failure:
            await asyncio.wait_for(handle.result(), patient(20))
        assert "deploymentId" in str(failure.value.cause)
        await rollout.handle.signal("abort", {"by": "ann"})


async def test_a_step_costs_no_more_than_fifteen_events(stage: Stage) -> None:
    events = {}
    for increment in (50, 10):
        async with stage.rollout(config={"incrementStep": increment}) as rollout:
            await rollout.handle.result()
            events[increment] = (await rollout.handle.describe()).history_length
    steps = 6 - 2
    assert (events[10] - events[50]) / steps <= 15


async def test_misspelt_update_is_refused_with_the_verbs(stage: Stage) -> None:
    async with stage.rollout(config=LONG) as rollout:
        await rollout.until(lambda world: world.weights == [5_000])
        told = await rollout.refusal("abbort", by="ann")
        assert "approve, reject, pause, resume, promote, goto, retry, abort" in told
        await rollout.handle.signal("abort", {"by": "ann"})
        await rollout.handle.result()
