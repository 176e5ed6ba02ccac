"""How a deployment calls its activities: time-outs and retries by direction, and what a failure means.

Forward, a phase has the deployment's progress deadline. Compensation and the last word have none: they are tried until
they have worked. A killed worker is noticed by missing heartbeats, so every call has a heartbeat time-out.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, is_cancelled_exception
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from hotswap.domain.errors import InsufficientCapacity, ReplicasFailed
    from hotswap.domain.policy import Fail, RollBack
    from hotswap.domain.verdict import Reason
    from hotswap.messages import waiting_queue, watch_queue

HEARTBEAT_TIMEOUT = timedelta(seconds=3)
WATCH_HEARTBEAT_TIMEOUT = timedelta(seconds=2)
"""Shorter: a second watch beside the first harms nothing, and this is how a rollout notices that its worker is dead."""

WAIT_HEARTBEAT_TIMEOUT = timedelta(seconds=10)
"""Nothing hurries: whoever waits keeps his place while his worker is dead."""

BAKE_GRACE = timedelta(seconds=15)
"""How much later than the watch's own deadline the bake's timer ends it: twice its heartbeat time-out, and a retry."""

_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=5))
# A watch beside another harms nothing, nor does a wait, so the next need not wait.
_WATCH_AGAIN = RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=5))


class GoBack(Exception):
    """Ends the forward path; compensation follows, unless there is nothing to go back to."""

    def __init__(self, cause: RollBack | Fail) -> None:
        super().__init__(cause.message)
        self.cause = cause


def forward(summary: str, *, deadline: timedelta) -> workflow.ActivityConfig:
    # TRY_CANCEL: waiting for the cancelled activity can swallow a cancel that races a short one.
    return workflow.ActivityConfig(
        summary=summary,
        schedule_to_close_timeout=deadline,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=_RETRY,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def until_done(summary: str) -> workflow.ActivityConfig:
    return workflow.ActivityConfig(
        summary=summary,
        start_to_close_timeout=timedelta(hours=1),
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=_RETRY,
    )


def watching(summary: str, *, deadline: timedelta) -> workflow.ActivityConfig:
    return workflow.ActivityConfig(
        task_queue=watch_queue(workflow.info().task_queue),
        summary=summary,
        schedule_to_close_timeout=deadline,
        heartbeat_timeout=WATCH_HEARTBEAT_TIMEOUT,
        retry_policy=_WATCH_AGAIN,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def waiting(summary: str, *, deadline: timedelta) -> workflow.ActivityConfig:
    """For what may wait for days: it heartbeats seldom, since there may be many."""
    return workflow.ActivityConfig(
        task_queue=waiting_queue(workflow.info().task_queue),
        summary=summary,
        schedule_to_close_timeout=deadline,
        heartbeat_timeout=WAIT_HEARTBEAT_TIMEOUT,
        retry_policy=_WATCH_AGAIN,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


_REASONS = {
    ReplicasFailed.code: Reason.REPLICAS_FAILED,
    InsufficientCapacity.code: Reason.INSUFFICIENT_CAPACITY,
}


def cause_of(error: BaseException) -> RollBack | Fail:
    """What happened, in the deployment's terms."""
    if isinstance(error, GoBack):
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
