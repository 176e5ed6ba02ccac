"""The state that a deployment's next run begins with comes through Temporal as it was."""

from dataclasses import fields
from typing import Any

from hotswap.domain.backtest import BacktestReport
from hotswap.domain.capacity import CapacityPlan, Mode
from hotswap.domain.fleet import Fleet
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.policy import HoldReason, Requests, RollBack, Rollout
from hotswap.domain.strategy import Rules, Step, StepPause
from hotswap.domain.traffic import Arm, Counts
from hotswap.domain.undo import LetScaleByLoad, RemoveReplicas, UndoLog, WithdrawTraffic
from hotswap.domain.verdict import Outcome, Reason, Verdict
from hotswap.domain.vocabulary import Environment
from hotswap.messages import Approve, CarriedState, Decision, DeploymentInput, VerifiedWeight
from hotswap.process.temporal import DATA_CONVERTER
from workflows.deployment.carrying import carried_state, commands_of, progress_of, take_up_traffic
from workflows.deployment.state import CommandState, Progress, Traffic

PLAN = CapacityPlan(Mode.SURGE, 4, 4, (4, 3, None), 2, 4, "there is room")
ROLLOUT = Rollout(
    (Step(1_000, 60.0, 120.0, pause=StepPause(None)), Step(10_000, 60.0, 120.0)),
    position=1,
    weight_verified_at=1_800_000_000.25,
    verdict=Verdict(Outcome.PASS, "fine", evidence={"errors": -1.5}),
    hold=HoldReason.PAUSED,
    held_since=1_800_000_001.5,
    rules=Rules(StepPause(3_600.0)),
    fleet=Fleet(PLAN, 2, 4, 1_000, 0),
    bake_until=1_800_000_060.0,
    evidence={"latency": 0.1},
)
WEIGHT = VerifiedWeight(weight=1_000, verified_at=1.5, proxies=("envoy-0",), stable=Counts(completed=9))


def state() -> tuple[Progress, CommandState, Traffic, UndoLog]:
    decision = Decision(
        id="1", deployment_id="dep-1", kind="pause", actor="ann", message="pause", after={"pause": True}
    )
    progress = Progress(
        status=DeploymentStatus.PAUSED,
        message="paused",
        backtest=BacktestReport(at=1_800_000_000.0),
        plan=PLAN,
        rollout=ROLLOUT,
        notes=["12:00:00 pause"],
        unrecorded=[decision],
        dropped=3,
        waits_until=1_800_000_000.125,
    )
    commands = CommandState(
        requests=Requests(abort=RollBack(Reason.ABORTED, "aborted, by ann"), pause=True, go_to=1, approved=0),
        approval=Approve(by="bob", step=0, proof="proof"),
        approval_trace_id="trace-1",
        abort_trace_id="trace-2",
        gate=-1,
    )
    traffic = Traffic(
        Environment.PRODUCTION,
        "fraud",
        "dep-1",
        stable=Arm("stable", "1.0.0", "dep-0"),
        candidate=Arm("candidate", "2.0.0", "dep-1"),
        verified_weight=1_000,
        first=WEIGHT,
        latest=WEIGHT,
        beside_stable={"candidate": 1},
    )
    undo = UndoLog((LetScaleByLoad(("candidate",)), RemoveReplicas("candidate"), WithdrawTraffic(published=True)))
    return progress, commands, traffic, undo


def through_temporal(carried: CarriedState) -> CarriedState:
    given = {"environment": Environment.PRODUCTION, "model": "fraud", "version": "2.0.0", "initiated_by": "ann"}
    request = DeploymentInput(deployment_id="dep-1", carried=carried, **given)
    converter = DATA_CONVERTER.payload_converter
    got: list[Any] = converter.from_payloads(converter.to_payloads([request]), [DeploymentInput])
    assert got[0].carried is not None
    taken: CarriedState = got[0].carried
    return taken


def test_every_part_of_the_state_is_carried() -> None:
    progress, commands, traffic, undo = state()
    carried = through_temporal(carried_state(progress, commands, traffic, undo))
    assert progress_of(carried) == progress
    assert commands_of(carried) == commands
    assert UndoLog(carried.undo).newest_first() == undo.newest_first()
    taken = Traffic(Environment.PRODUCTION, "fraud", "dep-1")
    take_up_traffic(taken, carried)
    assert taken == traffic


def test_the_example_has_a_value_of_its_own_in_every_field() -> None:
    """So that a field which is added and not carried fails the test above."""
    progress, commands, traffic, _ = state()
    given_state: tuple[Any, ...] = (progress, commands, traffic)
    fresh = (Progress(), CommandState(), Traffic(Environment.PRODUCTION, "fraud", "dep-1"))
    beside = {"environment", "model", "deployment_id", "sequence"}
    for given, new in zip(given_state, fresh, strict=True):
        names = {each.name for each in fields(given)} - beside
        assert {name for name in names if getattr(given, name) == getattr(new, name)} == set()
    assert set(CarriedState.model_fields) == {
        *({each.name for kind in (Progress, CommandState, Traffic) for each in fields(kind)} - beside),
        "undo",
    }


def test_a_state_of_another_release_is_read_with_what_is_lacking_as_unknown() -> None:
    assert CarriedState.model_validate({}) == CarriedState()
