"""The context that the parts of a deployment's workflow share: input, state, calls of activities, waits, notes.

Forward, every activity is called by `run`, which stops at once when somebody aborts. Backward, and for the last status,
it is `run_until_done`, which nothing stops. What may last for days (an approval, a slot, a bake, a pause) continues as
a new run when this one's history has become long, with all of the state: no number of commands ends a deployment.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.deployments import DeploymentActivities
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.undo import UndoLog
    from hotswap.domain.verdict import Reason
    from hotswap.messages import Decision, DeploymentInput, Transition
    from hotswap.telemetry.logs import trace_id
    from workflows.abandoning import abandoned_at_end
    from workflows.activity_options import forward, until_done
    from workflows.attributes import STATUS, WEIGHT
    from workflows.deployment.carrying import carried_state, commands_of, progress_of, take_up_traffic
    from workflows.deployment.state import CommandState, Progress, Traffic
    from workflows.deployment.ui_details import MOST_NOTES, details
    from workflows.failures import DeploymentStopped
    from workflows.run_limits import is_long

Given = TypeVar("Given")
Result = TypeVar("Result")

MOST_UNRECORDED = 100
"""Decisions that wait to be put on record; each costs events, and Temporal takes 2 MB of state to the next run."""

MOST_NOTE = 2_000
"""Characters. A malformed signal is told with what it called its fields, and that may be of any length."""

StateDifference = tuple[dict[str, Any] | None, dict[str, Any] | None]


class Context:
    """One deployment: what was asked for, what is known of it, and the ways to act on it and to tell of it."""

    def __init__(self, request: DeploymentInput) -> None:
        self.request = request
        self.traffic = Traffic(request.environment, request.model, request.deployment_id)
        self.progress, self.commands, self.undo = Progress(), CommandState(), UndoLog()
        if (carried := request.carried) is not None:
            self.progress, self.commands, self.undo = progress_of(carried), commands_of(carried), UndoLog(carried.undo)
            take_up_traffic(self.traffic, carried)
        self.continues = False
        """True if this run continues as a new one when it is long; a run of an earlier release never does."""

    # --- activities ---------------------------------------------------------------------------------------------------

    async def run(
        self,
        method: Callable[[Any, Given], Awaitable[Result]],
        given: Given,
        *,
        summary: str,
        options: workflow.ActivityConfig | None = None,
        is_wait: bool = False,
    ) -> Result:
        """Call an activity within the progress deadline; raise DeploymentStopped as soon as an abort is requested.

        One that only waits (`is_wait`) is given up where the run has become long, and called again by the next run.
        """
        self.stop_if_aborted()
        options = options or forward(summary, deadline=self.request.config.progress_deadline)
        call: workflow.ActivityHandle[Result] = workflow.start_activity_method(method, args=[given], **options)
        with abandoned_at_end(call):
            await workflow.wait_condition(
                lambda: call.done() or self.commands.requests.abort is not None or (is_wait and self.is_long)
            )
            if not call.done():
                self.stop_if_aborted()
                self.continue_if_long()
            return await call

    async def run_until_done(
        self, method: Callable[[Any, Given], Awaitable[Result]], given: Given, *, summary: str
    ) -> Result:
        """Call an activity until it has worked."""
        return await workflow.execute_activity_method(method, args=[given], **until_done(summary))

    def stop_if_aborted(self) -> None:
        if self.commands.requests.abort is not None:
            raise DeploymentStopped(self.commands.requests.abort)

    # --- waits --------------------------------------------------------------------------------------------------------

    def wait_until(self, limit: timedelta | None) -> float | None:
        """Return when the wait that begins ends, or that was begun by the run before this one; `wait_over` ends it."""
        if self.progress.waits_until is None and limit is not None:
            self.progress.waits_until = workflow.time() + limit.total_seconds()
        return self.progress.waits_until

    def wait_over(self) -> None:
        self.progress.waits_until = None

    async def wait(self, done: Callable[[], bool], *, until: float | None, summary: str) -> None:
        """Wait until it is done, put on record meanwhile what was decided, and continue as a new run where that is due.

        Raises TimeoutError at `until` (Unix time, seconds); None waits for as long as it takes.
        """
        while True:
            left = None if until is None else timedelta(seconds=max(0.0, until - workflow.time()))
            await workflow.wait_condition(
                lambda: done() or self.is_long or bool(self.progress.unrecorded), timeout=left, timeout_summary=summary
            )
            if done():
                return
            self.continue_if_long()
            await self.record_decisions()

    @property
    def is_long(self) -> bool:
        return self.continues and is_long()

    def continue_if_long(self) -> None:
        """Continue as a new run where this one has become long; an abort or a cancel that has come is acted on first.

        What comes later finds the new run: Temporal takes no end of a run while a command waits to be handled.
        """
        if not self.is_long:
            return
        self.stop_if_aborted()
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        carried = carried_state(self.progress, self.commands, self.traffic, self.undo)
        workflow.continue_as_new(self.request.model_copy(update={"carried": carried}))

    # --- status and weight --------------------------------------------------------------------------------------------

    async def enter(self, status: DeploymentStatus, message: str) -> None:
        """Show the status, and put it on record."""
        self.show_status(status, message)
        await self.run(
            DeploymentActivities.record_transition, self.transition(status, message, None), summary=str(status)
        )

    async def record(self, transition: Transition) -> None:
        """Put a status on record, however long that takes."""
        await self.run_until_done(DeploymentActivities.record_transition, transition, summary=str(transition.status))

    def transition(self, status: DeploymentStatus, message: str, reason: Reason | None) -> Transition:
        return Transition(
            deployment_id=self.request.deployment_id,
            status=status,
            message=message,
            reason=reason,
            actor=self.request.initiated_by,
        )

    def show_status(self, status: DeploymentStatus, message: str) -> None:
        self.progress.status = status
        workflow.upsert_search_attributes([STATUS.value_set(status)])
        self.show_message(message)

    def show_weight(self, weight: int) -> None:
        """Show a verified weight, in hundredths of a percent."""
        self.traffic.verified_weight = weight
        workflow.upsert_search_attributes([WEIGHT.value_set(weight / 100)])
        self.refresh_details()

    def show_message(self, message: str) -> None:
        self.progress.message = message
        self.refresh_details()

    # --- notes --------------------------------------------------------------------------------------------------------

    def note(
        self,
        text: str,
        *,
        kind: str = "message",
        actor: str = "unknown",
        change: StateDifference = (None, None),
        may_drop: bool = False,
    ) -> None:
        """Show what was decided; `record_decisions` puts it on record as soon as something may be awaited.

        One that `may_drop` changes nothing. While many wait, these are only counted, and the number is put on record.
        """
        before, after = change
        text = text[:MOST_NOTE]
        self.progress.notes.append(f"{workflow.now():%H:%M:%S} {text}")
        del self.progress.notes[:-MOST_NOTES]
        self.refresh_details()
        if may_drop and self.continues and len(self.progress.unrecorded) >= MOST_UNRECORDED // 2:
            self.progress.dropped += 1
            return
        self.progress.unrecorded.append(
            Decision(
                id=str(workflow.uuid4()),
                deployment_id=self.request.deployment_id,
                kind=kind,
                actor=actor,
                message=text,
                before=before,
                after=after,
                trace_id=trace_id.get(),
            )
        )

    @property
    def takes_commands(self) -> bool:
        """Return whether a command that is accepted now can be put on record soon."""
        return not self.continues or len(self.progress.unrecorded) < MOST_UNRECORDED

    async def record_decisions(self, *, until_done: bool = False) -> None:
        """Put the notes on record; with `until_done` whatever comes between.

        What comes meanwhile is put on record as well, but no stream of commands keeps this from its end.
        """
        call = self.run_until_done if until_done else self.run
        unrecorded, recorded = self.progress.unrecorded, 0
        while unrecorded:
            if self.continues and (recorded >= 2 * MOST_UNRECORDED or (self.is_long and not until_done)):
                return
            await call(DeploymentActivities.record_decision, unrecorded[0], summary=unrecorded[0].kind)
            unrecorded.pop(0)
            recorded += 1
            if not unrecorded and self.progress.dropped:
                number, self.progress.dropped = self.progress.dropped, 0
                self.note(f"{number} more commands had no effect; they came faster than they could be put on record")

    def refresh_details(self) -> None:
        """Bring the details that the Temporal Web UI shows up to date; it costs no history."""
        workflow.set_current_details(details(self.progress, verified_weight=self.traffic.verified_weight))
