"""The context that the parts of a deployment's workflow share: input, state, calls of activities, notes.

Forward, every activity is called by `run`, which stops at once when somebody aborts. Backward, and for the last status,
it is `run_until_done`, which nothing stops.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.deployments import DeploymentActivities
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.verdict import Reason
    from hotswap.messages import Decision, DeploymentInput, Transition
    from hotswap.telemetry.logs import trace_id
    from workflows.abandoning import abandoned_at_end
    from workflows.activity_options import forward, until_done
    from workflows.attributes import STATUS, WEIGHT
    from workflows.deployment.state import CommandState, Progress, Traffic, UndoLog
    from workflows.deployment.ui_details import details
    from workflows.failures import DeploymentStopped

Given = TypeVar("Given")
Result = TypeVar("Result")

StateDifference = tuple[dict[str, Any] | None, dict[str, Any] | None]


class Context:
    """One deployment: what was asked for, what is known of it, and the ways to act on it and to tell of it."""

    def __init__(self, request: DeploymentInput) -> None:
        self.request = request
        self.progress = Progress()
        self.commands = CommandState()
        self.traffic = Traffic(request.environment, request.model, request.deployment_id)
        self.undo = UndoLog()

    # --- activities ---------------------------------------------------------------------------------------------------

    async def run(
        self,
        method: Callable[[Any, Given], Awaitable[Result]],
        given: Given,
        *,
        summary: str,
        options: workflow.ActivityConfig | None = None,
    ) -> Result:
        """Call an activity within the progress deadline; raise DeploymentStopped as soon as an abort is requested."""
        self.stop_if_aborted()
        options = options or forward(summary, deadline=self.request.config.progress_deadline)
        call: workflow.ActivityHandle[Result] = workflow.start_activity_method(method, args=[given], **options)
        with abandoned_at_end(call):
            await workflow.wait_condition(lambda: call.done() or self.commands.requests.abort is not None)
            if not call.done():
                self.stop_if_aborted()
            return await call

    async def run_until_done(
        self, method: Callable[[Any, Given], Awaitable[Result]], given: Given, *, summary: str
    ) -> Result:
        """Call an activity until it has worked."""
        return await workflow.execute_activity_method(method, args=[given], **until_done(summary))

    def stop_if_aborted(self) -> None:
        if self.commands.requests.abort is not None:
            raise DeploymentStopped(self.commands.requests.abort)

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
        self, text: str, *, kind: str = "message", actor: str = "unknown", change: StateDifference = (None, None)
    ) -> None:
        """Show what was decided; `record_decisions` puts it on record as soon as something may be awaited."""
        before, after = change
        self.progress.notes.append(f"{workflow.now():%H:%M:%S} {text}")
        self.progress.unrecorded.append(
            Decision(
                id=str(workflow.uuid4()),
                deployment_id=self.request.deployment_id,
                kind=kind,
                actor=actor,
                message=text[:2_000],
                before=before,
                after=after,
                trace_id=trace_id.get(),
            )
        )
        self.refresh_details()

    async def record_decisions(self, *, until_done: bool = False) -> None:
        """Put the notes on record; with `until_done` whatever comes between."""
        call = self.run_until_done if until_done else self.run
        unrecorded = self.progress.unrecorded
        while unrecorded:
            await call(DeploymentActivities.record_decision, unrecorded[0], summary=unrecorded[0].kind)
            unrecorded.pop(0)

    def refresh_details(self) -> None:
        """Bring the details that the Temporal Web UI shows up to date; it costs no history."""
        workflow.set_current_details(details(self.progress, verified_weight=self.traffic.verified_weight))
