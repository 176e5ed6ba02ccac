"""The workflow that waits for a deployment's turn and then starts it: one for each that is queued or has a start time.

It holds no lock and decides nothing: PostgreSQL's rows say whose turn it is, and Temporal lets one deployment of a
model run at a time. If this workflow is lost, the reconciler starts it anew; if it ran twice, both would start the same
deployment. The deployment outlives it. Until the start, an abort ends the waiting deployment, and every other command
is refused as too early.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from activities.queueing import QueueActivities
    from hotswap.domain.errors import Conflict
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.verdict import Reason
    from hotswap.messages import (
        API,
        Abort,
        Answer,
        AwaitTurn,
        LeaveQueue,
        QueueAction,
        QueueDecision,
        QueueInput,
        Run,
    )
    from workflows.abandoning import abandoned_at_end
    from workflows.activity_options import until_done, waiting
    from workflows.attributes import ENVIRONMENT, MODEL, VERSION
    from workflows.children import start_deployment
    from workflows.command_inputs import read_abort
    from workflows.run_limits import is_long
    from workflows.shielding import uninterrupted

AGAIN = timedelta(seconds=1)
LATEST_AGAIN = timedelta(minutes=1)
"""Something holds the workflow id that no row tells of: such as a run that a person started by hand."""

ABORT = 'Ends it before it began: {"by": "ann", "reason": "..."}'


@workflow.defn(name="Queue")
class QueueWorkflow:
    @workflow.init
    def __init__(self, queued: QueueInput) -> None:
        self._request = queued.request
        self._queued = queued
        self._abort: Abort | None = None
        self._aborted = queued.aborted
        self._waits_until = queued.waits_until
        self._continues = False

    @workflow.run
    async def run(self, queued: QueueInput) -> str:
        """Return what became of the deployment, in one sentence."""
        request = self._request
        self._continues = workflow.patched("continue-as-new")
        workflow.upsert_search_attributes(
            [
                MODEL.value_set(request.model),
                VERSION.value_set(request.version),
                ENVIRONMENT.value_set(request.environment),
            ]
        )
        try:
            told = await self._wait_and_start()
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            await uninterrupted(self._leave(Reason.CANCELLED, "cancelled through Temporal before its turn came"))
            raise asyncio.CancelledError from error
        await workflow.wait_condition(workflow.all_handlers_finished)
        return told

    async def _wait_and_start(self) -> str:
        if self._queued.start_at is not None:
            await self._sleep_until(self._queued.start_at.timestamp())
        pause = AGAIN
        while self._abort is None:
            turn = await self._next_turn()
            if turn is None:
                break
            match turn.call:
                case QueueAction.NOTHING:
                    return f"{self._request.deployment_id} waits no more"
                case QueueAction.ABORT_OTHERS:
                    await self._abort_others(turn.others)
                case QueueAction.START:
                    if await self._start():
                        return f"{self._request.deployment_id} was started"
                    with suppress(TimeoutError):
                        await workflow.wait_condition(
                            lambda: self._abort is not None, timeout=pause, timeout_summary="another one runs still"
                        )
                    pause = min(2 * pause, LATEST_AGAIN)
            self._continue_if_long()
        return await self._give_up()

    async def _sleep_until(self, at: float) -> None:
        seconds = max(0.0, at - workflow.time())
        self._tell(f"Starts at {self._queued.start_at}, if it is its turn then.")
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._abort is not None or self._is_long, timeout=seconds, timeout_summary="its time to start"
            )
            self._continue_if_long()

    @property
    def _is_long(self) -> bool:
        return self._continues and is_long()

    def _continue_if_long(self) -> None:
        """Continue as a new run where this one has become long; never when an abort has come, which this run acts on.

        An abort that comes later finds the new run: Temporal takes no end of a run while something waits to be handled.
        """
        if self._abort is None and workflow.cancellation_reason() is None and self._is_long:
            workflow.continue_as_new(
                self._queued.model_copy(update={"waits_until": self._waits_until, "aborted": self._aborted})
            )

    async def _next_turn(self) -> QueueDecision | None:
        """Return what to do next, or None if an abort came first or nothing came until the deadline."""
        self._tell("Waits for its turn; what it waits for is in the heartbeat of the pending activity.")
        if self._waits_until is None:
            self._waits_until = workflow.time() + self._request.queue_deadline.total_seconds()
        left = timedelta(seconds=max(1.0, self._waits_until - workflow.time()))
        call = workflow.start_activity_method(
            QueueActivities.await_turn,
            AwaitTurn(deployment_id=self._request.deployment_id, aborted=self._aborted),
            **waiting("wait for its turn", deadline=left),
        )
        with abandoned_at_end(call):
            await workflow.wait_condition(lambda: call.done() or self._abort is not None or self._is_long)
            if not call.done():
                self._continue_if_long()
            try:
                return await call if call.done() else None
            except ActivityError as error:
                if isinstance(error.cause, ActivityTimeout):
                    return None
                raise

    async def _abort_others(self, others: Sequence[Run]) -> None:
        """Abort each as its own run, so that this never reaches a later one under the same workflow id."""
        request = self._request
        reason = f"superseded by {request.deployment_id}, of version {request.version}"
        said = Abort(by=request.initiated_by, reason=reason, via=API, superseded_by=request.deployment_id)
        for other in others:
            self._aborted += (other.run_id,)
            handle = workflow.get_external_workflow_handle(other.workflow_id, run_id=other.run_id)
            try:
                await handle.signal("abort", said)
            except FailureError:
                if workflow.cancellation_reason():
                    raise
                workflow.logger.info("%s has ended by itself", other.deployment_id)

    async def _start(self) -> bool:
        """Start the deployment, and return whether it started.

        Another one of its model may not have closed yet, though its row says that it ended.
        """
        request = self._request
        started = await start_deployment(
            request,
            summary=f"{request.kind} of {request.model} {request.version} to {request.environment}",
            details=f"Deployment `{request.deployment_id}`, asked for by {request.initiated_by}.",
        )
        if started is None:
            return False
        if self._abort is not None:
            await started.signal("abort", self._abort)
        return True

    async def _give_up(self) -> str:
        if self._abort is not None:
            said = f"aborted by {self._abort.actor} before its turn came"
            return await self._leave(
                Reason.ABORTED, f"{said}: {self._abort.reason}" if self._abort.reason else said, actor=self._abort.actor
            )
        return await self._leave(
            Reason.DEADLINE_EXCEEDED, f"its turn did not come within {self._request.queue_deadline}"
        )

    async def _leave(self, reason: Reason, message: str, *, actor: str = "hotswap") -> str:
        late = reason is Reason.DEADLINE_EXCEEDED
        was_queued = await workflow.execute_activity_method(
            QueueActivities.leave_queue,
            LeaveQueue(
                deployment_id=self._request.deployment_id,
                status=DeploymentStatus.FAILED if late else DeploymentStatus.CANCELLED,
                reason=reason,
                message=message,
                actor=actor,
            ),
            **until_done("leave the queue"),
        )
        return message if was_queued else f"{self._request.deployment_id} waits no more"

    def _tell(self, what: str) -> None:
        request = self._request
        workflow.set_current_details(
            f"## Pending\n\n**{request.model} {request.version}** to {request.environment}, as deployment "
            f"`{request.deployment_id}`. {what}"
        )

    # --- commands -----------------------------------------------------------------------------------------------------

    @workflow.update(name="abort", description=ABORT)
    async def abort_update(self, *inputs: Any) -> Answer:
        self._abort = self._abort or read_abort(Abort, inputs)
        return Answer(accepted=True, message="it leaves the queue", status=DeploymentStatus.PENDING)

    @workflow.signal(name="abort", description=ABORT)
    async def abort_signal(self, *inputs: Any) -> None:
        self._abort = self._abort or read_abort(Abort, inputs)

    @workflow.signal(dynamic=True, description="Any other word: too early, and without effect")
    async def other_signal(self, name: str, _: Sequence[RawValue]) -> None:
        workflow.logger.info("signal %s came before the deployment's turn and had no effect", name)

    @workflow.update(dynamic=True, description="Any other word: too early, and without effect")
    async def other_update(self, name: str, _: Sequence[RawValue]) -> Answer:
        return Answer(accepted=False, message=_too_early(name), status=DeploymentStatus.PENDING)

    @other_update.validator
    def check_other_update(self, name: str, _: Sequence[RawValue]) -> None:
        """Refuse it before it is accepted: it then leaves no event."""
        message = f"{self._request.deployment_id} is {DeploymentStatus.PENDING}, and {_too_early(name)}"
        raise ApplicationError(message, type=Conflict.code, non_retryable=True)


def _too_early(command: str) -> str:
    return f"it waits for its turn, so there is nothing to {command} yet; only an abort has an effect"
