"""The causes that end a workflow's forward path, in a deployment's terms: cancelled, out of time, or failed.

An activity's failure arrives wrapped: Temporal's `ActivityError` around a time-out or around the activity's own error,
whose type is one of `hotswap/domain/errors.py`. A bug, or the worker's eviction of a workflow, is no outcome.
"""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, RetryState, is_cancelled_exception
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from hotswap.domain.errors import DeploymentMoved, InsufficientCapacity, ReplicasFailed
    from hotswap.domain.policy import Fail, RollBack
    from hotswap.domain.verdict import Reason

_REASONS = {
    ReplicasFailed.code: Reason.REPLICAS_FAILED,
    InsufficientCapacity.code: Reason.INSUFFICIENT_CAPACITY,
}


class DeploymentStopped(Exception):
    """Ends the forward path with its cause; a rollback follows, unless there is nothing to go back to."""

    def __init__(self, cause: RollBack | Fail) -> None:
        super().__init__(cause.message)
        self.cause = cause


def is_outcome(error: BaseException) -> bool:
    """Return whether this happened to the deployment; if not it is a bug, or the worker's eviction of the workflow."""
    return isinstance(error, DeploymentStopped | FailureError) or is_cancelled_exception(error)


def has_moved(error: BaseException) -> bool:
    """Whether the deployment's row is further than this run takes it to be, since the workflow was reset."""
    cause = error.cause if isinstance(error, ActivityError) else None
    return isinstance(cause, ApplicationError) and cause.type == DeploymentMoved.code


def cause_of(error: BaseException) -> RollBack | Fail:
    """Say what happened in the deployment's terms."""
    if isinstance(error, DeploymentStopped):
        return error.cause
    if isinstance(error, asyncio.CancelledError) or is_cancelled_exception(error):
        return RollBack(Reason.CANCELLED, "cancelled through Temporal")
    activity = error.activity_type if isinstance(error, ActivityError) else ""
    cause = error.cause if isinstance(error, ActivityError) and error.cause is not None else error
    if isinstance(cause, ActivityTimeout):
        waited_for = "; ".join(str(detail) for detail in cause.last_heartbeat_details if detail)
        last = f": {cause.cause}" if cause.cause is not None else ""
        return RollBack(
            Reason.DEADLINE_EXCEEDED, f"{activity} ran out of time{last}{' - ' if waited_for else ''}{waited_for}"
        )
    if isinstance(cause, ApplicationError):
        if isinstance(error, ActivityError) and error.retry_state is RetryState.TIMEOUT:
            # There is no time for another attempt: Temporal then tells the last one's failure instead of a time-out.
            return RollBack(Reason.DEADLINE_EXCEEDED, f"{activity} ran out of time: {cause.message}")
        reason = _REASONS.get(cause.type or "", Reason.FAILED)
        return RollBack(reason, f"{activity}: {cause.message}" if activity else cause.message)
    return RollBack(Reason.FAILED, f"{activity}: {cause}")
