"""Options for activities that workflows call: time-outs, retries and task queues.

Forward, a phase has a deadline. Backward and for the last status there is none: the activity is tried until it has
worked, on the task queue of the way back, where nothing that goes forward can be before it. Every call has a heartbeat
time-out, since missing heartbeats are how Temporal notices that a worker was killed. What a failure means is
`workflows/failures.py`.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy

with workflow.unsafe.imports_passed_through():
    from hotswap.messages import artifact_queue, waiting_queue, watch_queue, way_back_queue

ATTEMPT = timedelta(hours=1)
"""How long one attempt may take of what is tried until it is done."""

HEARTBEAT_TIMEOUT = timedelta(seconds=3)
WATCH_HEARTBEAT_TIMEOUT = timedelta(seconds=2)
"""Shorter: a second watch beside the first does no harm, and this is how a rollout notices that its worker is dead."""

WAIT_HEARTBEAT_TIMEOUT = timedelta(seconds=10)
"""Longer: a deployment that waits keeps its place while its worker is dead, and there may be thousands of waits."""

_RETRY = RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=5))
# A second watch or wait beside the first does no harm, so the next attempt starts at once.
_RETRY_AT_ONCE = RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(seconds=5))

_DEPLOYED = Priority(priority_key=1)
"""Before the default, which is 3. A Temporal server that knows no priorities ignores it."""


def forward(summary: str, *, deadline: timedelta) -> workflow.ActivityConfig:
    """Give up after the deadline, or at once when the workflow is cancelled."""
    # TRY_CANCEL: waiting for the cancelled activity can swallow a cancel that races a short one.
    return workflow.ActivityConfig(
        summary=summary,
        schedule_to_close_timeout=deadline,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=_RETRY,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def until_done(summary: str) -> workflow.ActivityConfig:
    """Try again until it has worked, on the task queue of the way back."""
    return workflow.ActivityConfig(
        task_queue=way_back_queue(workflow.info().task_queue),
        summary=summary,
        start_to_close_timeout=ATTEMPT,
        heartbeat_timeout=HEARTBEAT_TIMEOUT,
        retry_policy=_RETRY,
    )


def taking_back(summary: str, *, deadline: timedelta) -> workflow.ActivityConfig:
    """Run on the task queue of the way back, but give up like `forward`, since there is another way to go on."""
    options = forward(summary, deadline=deadline)
    options["task_queue"] = way_back_queue(workflow.info().task_queue)
    return options


def inspecting(summary: str, *, deadline: timedelta, is_deployed: bool) -> workflow.ActivityConfig:
    """Run on the artifacts' own task queue, so that a hundred that hang there don't keep anything else from starting.

    `deadline` includes the wait for a place in that queue. A version that `is_deployed` goes before all that are only
    registered: many may register, and a deployment ends when it has waited too long.
    """
    options = forward(summary, deadline=deadline)
    options["task_queue"] = artifact_queue(workflow.info().task_queue)
    options["priority"] = _DEPLOYED if is_deployed else Priority.default
    return options


def watching(summary: str, *, deadline: timedelta) -> workflow.ActivityConfig:
    """Run on the watches' own task queue, so that long watches don't take the place of what acts."""
    return workflow.ActivityConfig(
        task_queue=watch_queue(workflow.info().task_queue),
        summary=summary,
        schedule_to_close_timeout=deadline,
        heartbeat_timeout=WATCH_HEARTBEAT_TIMEOUT,
        retry_policy=_RETRY_AT_ONCE,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def waiting(summary: str, *, deadline: timedelta) -> workflow.ActivityConfig:
    """Run on the waits' own task queue: it may wait for days, and heartbeats seldom, since there may be many."""
    return workflow.ActivityConfig(
        task_queue=waiting_queue(workflow.info().task_queue),
        summary=summary,
        schedule_to_close_timeout=deadline,
        heartbeat_timeout=WAIT_HEARTBEAT_TIMEOUT,
        retry_policy=_RETRY_AT_ONCE,
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )
