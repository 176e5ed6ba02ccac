"""The backtest within the deployment workflow, on a real Temporal server: it passes, ends, waits, or says why not."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from hotswap.domain.application import ReplicaResources
from hotswap.domain.backtest import RecordedRequest, Reply, ReplyKind
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import RequestForm
from tests.fixtures.patience import patient
from tests.workflows.conftest import Rollout, Stage
from tests.workflows.test_capacity import spec
from tests.workflows.test_deployment import CANDIDATE, FORWARD
from tests.workflows.world import STABLE, as_recorded, rollout_brief

SECRET = 4_111_222_233
"""A feature's value, which nothing but the replicas is told."""


def requests(number: int) -> tuple[RecordedRequest, ...]:
    return tuple(
        RecordedRequest(f"r-{each}", RequestForm.INSTANCE, ([SECRET, each],), (each % 2,), float(each))
        for each in range(number)
    )


def refusing(_: RecordedRequest) -> Reply:
    return Reply(ReplyKind.REFUSED, 0.001, field="features.card")


def failing(_: RecordedRequest) -> Reply:
    return Reply(ReplyKind.FAILED, 0.001, problem="500")


def differing(request: RecordedRequest) -> Reply:
    return Reply(ReplyKind.ANSWERED, 0.001, (2 + request.answers[0],))


def trying(stage: Stage, *, asked: int = 40, **switches: Any) -> AbstractAsyncContextManager[Rollout]:
    """A rollout beside a stable that runs and was asked so much."""
    return stage.rollout(serving=[spec(STABLE, ReplicaResources())], recorded=requests(asked), **switches)


def assert_undone(rollout: Rollout) -> None:
    world = rollout.world
    assert world.route is not None
    assert (world.route.stable, world.route.candidate) == (STABLE, None)
    assert set(world.applications) == {STABLE.application}
    assert (world.active, world.weights) == (None, [])
    assert all(candidate is None for candidate, _, _ in world.routed), "not even a tester could reach it"


async def waits(rollout: Rollout) -> None:
    await rollout.until(lambda world: world.statuses[-1] is S.AWAITING_APPROVAL)


async def test_a_candidate_that_answers_what_was_asked_goes_on(stage: Stage) -> None:
    async with trying(stage) as rollout:
        outcome = await rollout.handle.result()
    world = rollout.world
    assert outcome.status is S.ACTIVE
    assert world.statuses == [*FORWARD, S.PROMOTING, S.ACTIVE]
    (report,) = world.backtests
    assert (report.asked, report.refusals.of, report.disagreements.hits) == (40, 40, 0)
    for application in (CANDIDATE, STABLE.application):
        asked = {request_id for name, request_id in world.asked_again if name == application}
        assert asked == {each.request_id for each in world.recorded}
    assert [timing.at_once for timing in report.timings] == [1, 8]
    assert world.routed[0][0] is None, "it was asked past the proxies"


@pytest.mark.parametrize(("replies", "told"), [(refusing, "features.card 40 (request r-0)"), (failing, "500 40")])
async def test_what_it_refuses_or_fails_ends_it_before_a_client_has_met_it(
    stage: Stage, replies: Any, told: str
) -> None:
    async with trying(stage, candidate_replies=replies) as rollout:
        outcome = await rollout.handle.result()
    world = rollout.world
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.BACKTEST_FAILED)
    assert told in outcome.message
    assert world.statuses == [S.PENDING, S.VALIDATING, S.DEPLOYING, S.ROLLING_BACK, S.FAILED]
    assert_undone(rollout)
    assert len(world.backtests) == 1


async def test_no_value_of_a_feature_is_in_the_history_or_in_a_message(stage: Stage) -> None:
    async with trying(stage, candidate_replies=differing) as rollout:
        await waits(rollout)
        details = await rollout.handle.query("__temporal_workflow_metadata")
        await rollout.handle.signal("reject", {"by": "ann"})
        await rollout.handle.result()
    assert "### Backtest" in str(details)
    assert "r-0" in str(details)
    events = (await rollout.handle.fetch_history()).events
    history = "".join(event.SerializeToString().decode(errors="replace") for event in events)
    told = [history, str(details), str(rollout.world.decisions), str(rollout.world.backtests)]
    assert "r-0" in history, "it is told which request"
    assert not any(str(SECRET) in each for each in told)


async def test_other_answers_wait_for_a_person_who_lets_them_go_on(stage: Stage) -> None:
    async with trying(stage, candidate_replies=differing) as rollout:
        await waits(rollout)
        assert rollout.world.weights == []
        assert "what its backtest has found does" in await rollout.refusal("approve", by="bob", step=0)
        said = await rollout.handle.execute_update("approve", {"by": "bob", "reason": "it was trained for that"})
        assert said["accepted"] is True
        outcome = await rollout.handle.result()
    world = rollout.world
    assert outcome.status is S.ACTIVE
    assert world.statuses == [
        *(S.PENDING, S.VALIDATING, S.DEPLOYING, S.AWAITING_APPROVAL),
        *(S.DEPLOYING, S.PROGRESSING, S.PROMOTING, S.ACTIVE),
    ]
    assert world.approvals == [("bob", True)]


async def test_the_approval_of_a_start_is_none_of_what_the_backtest_finds(stage: Stage) -> None:
    async with trying(stage, candidate_replies=differing, approval=True) as rollout:
        await waits(rollout)
        await rollout.handle.signal("approve", {"by": "bob"})
        await rollout.until(lambda world: world.statuses[-2:] == [S.DEPLOYING, S.AWAITING_APPROVAL])
        await rollout.handle.signal("approve", {"by": "bob"})
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE
    assert rollout.world.approvals == [("bob", True), ("bob", True)]


@pytest.mark.parametrize(
    ("verb", "status", "reason"),
    [
        ("reject", S.CANCELLED, Reason.REJECTED),
        ("abort", S.CANCELLED, Reason.ABORTED),
        (None, S.FAILED, Reason.DEADLINE_EXCEEDED),
    ],
)
async def test_what_nobody_lets_go_on_ends(stage: Stage, verb: str | None, status: S, reason: Reason) -> None:
    config = {} if verb else {"pauseDeadline": "PT1S"}
    async with trying(stage, candidate_replies=differing, config=config) as rollout:
        await waits(rollout)
        if verb is not None:
            await rollout.handle.signal(verb, {"by": "ann"})
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (status, reason)
    assert_undone(rollout)


@pytest.mark.parametrize(
    ("replies", "config"),
    [
        (differing, {"maxDisagreement": None}),
        (differing, {"maxDisagreement": 1}),
        (refusing, {"maxRefusals": 1}),
        (failing, {"maxFailures": 1}),
        (refusing, {"samples": 0}),
    ],
)
async def test_limits_are_the_deployments(stage: Stage, replies: Any, config: dict[str, Any]) -> None:
    said = {"backtest": config}
    async with trying(stage, candidate_replies=replies, config=said) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE
    assert len(rollout.world.backtests) == (0 if config.get("samples") == 0 else 1)


async def test_a_breach_can_be_held_for_a_person(stage: Stage) -> None:
    said = {"backtest": {"onBreach": "hold"}}
    async with trying(stage, candidate_replies=refusing, config=said) as rollout:
        await waits(rollout)
        await rollout.handle.signal("approve", {"by": "bob"})
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE


async def test_too_few_records_are_said_and_hold_nothing_up(stage: Stage) -> None:
    for recorded, told in (
        (requests(2), "2 requests compared are too few"),
        ((), "the stable has answered no request"),
    ):
        async with stage.rollout(recorded=recorded) as rollout:
            outcome = await rollout.handle.result()
        assert outcome.status is S.ACTIVE
        (said,) = (message for kind, _, message in rollout.world.decisions if kind == "backtest")
        assert told in said


async def test_a_first_version_has_nothing_to_be_compared_with(stage: Stage) -> None:
    async with stage.rollout(brief=rollout_brief(stable=None), recorded=requests(40)) as rollout:
        await rollout.handle.result()
    assert rollout.world.asked_again == []


async def test_a_stable_that_is_down_does_not_hold_up_what_may_mend_it(stage: Stage) -> None:
    async with trying(stage, stable_is_down=True) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE
    (report,) = rollout.world.backtests
    assert (report.asked, report.timings) == (40, ())
    assert "the stable could not be asked beside it, so latency is not compared" in report.notes


async def test_records_that_cannot_be_read_are_tried_again(stage: Stage) -> None:
    async with trying(stage, records_fail=1, candidate_replies=refusing) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.reason is Reason.BACKTEST_FAILED


async def test_what_died_in_the_middle_begins_anew_and_reports_once(stage: Stage) -> None:
    async with trying(stage, asker_dies=1) as rollout:
        outcome = await rollout.handle.result()
    assert outcome.status is S.ACTIVE
    (report,) = rollout.world.backtests
    assert (report.asked, report.disagreements.of) == (40, 40)
    assert rollout.world.asked_again.count((CANDIDATE, "r-0")) > 1


@pytest.mark.parametrize(("certain", "reason"), [(False, Reason.COMPLETED), (True, Reason.BACKTEST_FAILED)])
async def test_a_failure_of_a_busy_moment_is_asked_once_more(stage: Stage, certain: bool, reason: Reason) -> None:
    seen: set[str] = set()

    def at_first(request: RecordedRequest) -> Reply:
        if request.request_id in seen:
            return as_recorded(request)
        seen.add(request.request_id)
        return Reply(ReplyKind.FAILED, 0.001, problem="503", certain=certain)

    async with trying(stage, candidate_replies=at_first) as rollout:
        assert (await rollout.handle.result()).reason is reason


async def test_records_that_cannot_be_read_by_its_deadline_are_no_pass(stage: Stage) -> None:
    config = {"progressDeadline": "PT2S"}
    async with trying(stage, records_fail=1_000, config=config) as rollout:
        outcome = await rollout.handle.result()
    assert (outcome.status, outcome.reason) == (S.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "backtest ran out of time: the database is away" in outcome.message
    assert_undone(rollout)


@pytest.mark.parametrize("way", ["abort", "cancel"])
async def test_a_stop_while_it_is_asked_undoes_what_was_begun(stage: Stage, way: str) -> None:
    async with trying(stage, held_asking=True) as rollout:
        await asyncio.wait_for(rollout.world.reached.wait(), patient(15))
        if way == "abort":
            await rollout.handle.signal("abort", {"by": "ann"})
            assert (await rollout.handle.result()).reason is Reason.ABORTED
        else:
            await rollout.handle.cancel()
            await rollout.until(lambda world: world.statuses[-1] is S.CANCELLED)
    assert_undone(rollout)
    assert rollout.world.backtests == []
