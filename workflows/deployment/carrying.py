"""What the next run of a deployment's workflow is given of this one's state, and how it takes that up.

The sequence of the fence is not carried: a new run gets a higher epoch, in which it counts anew.
"""

from hotswap.domain.undo import UndoLog
from hotswap.messages import CarriedState
from workflows.deployment.state import CommandState, Progress, Traffic


def carried_state(progress: Progress, commands: CommandState, traffic: Traffic, undo: UndoLog) -> CarriedState:
    """Return the state as a message."""
    return CarriedState(
        status=progress.status,
        message=progress.message,
        backtest=progress.backtest,
        plan=progress.plan,
        rollout=progress.rollout,
        notes=tuple(progress.notes),
        unrecorded=tuple(progress.unrecorded),
        dropped=progress.dropped,
        waits_until=progress.waits_until,
        requests=commands.requests,
        approval=commands.approval,
        approval_trace_id=commands.approval_trace_id,
        abort_trace_id=commands.abort_trace_id,
        gate=commands.gate,
        stable=traffic.stable,
        candidate=traffic.candidate,
        verified_weight=traffic.verified_weight,
        first=traffic.first,
        latest=traffic.latest,
        beside_stable=traffic.beside_stable,
        undo=undo.entries,
    )


def progress_of(carried: CarriedState) -> Progress:
    return Progress(
        status=carried.status,
        message=carried.message,
        backtest=carried.backtest,
        plan=carried.plan,
        rollout=carried.rollout,
        notes=list(carried.notes),
        unrecorded=list(carried.unrecorded),
        dropped=carried.dropped,
        waits_until=carried.waits_until,
    )


def commands_of(carried: CarriedState) -> CommandState:
    return CommandState(
        requests=carried.requests,
        approval=carried.approval,
        approval_trace_id=carried.approval_trace_id,
        abort_trace_id=carried.abort_trace_id,
        gate=carried.gate,
    )


def take_up_traffic(traffic: Traffic, carried: CarriedState) -> None:
    """Fill in the arms of the route and what was verified of them."""
    traffic.stable, traffic.candidate = carried.stable, carried.candidate
    traffic.verified_weight = carried.verified_weight
    traffic.first, traffic.latest = carried.first, carried.latest
    traffic.beside_stable = dict(carried.beside_stable)
