"""People's commands to a deployment, and their results.

Each is an update of the deployment's workflow, so the caller learns its result. An abort is never lost: if the update
fails or no worker answers, it is left as a signal, which the next worker acts on before anything else. What a
deployment answers depends on where it is by then, not on what the database said a moment ago; only an ended one is told
from its row. A command that the workflow refuses leaves nothing in its history, so it is put on record here.

A deployment that waits for its turn has no workflow that would answer, so PostgreSQL does: its row is locked against
the workflow that may be opening it at the same moment. So it either ends here, or is under way and answers for itself.
"""

from contextlib import suppress
from dataclasses import dataclass

from hotswap.deployments.workflows import DeploymentWorkflows, Ended, NoAnswer
from hotswap.domain.deployments import Deployment
from hotswap.domain.errors import Conflict, HotSwapError, Unavailable
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.verdict import Reason
from hotswap.messages import Abort, Answer, Request
from hotswap.ports import DeploymentQueue, DeploymentReader, RefusedCommands
from hotswap.schemas.responses import AnswerView


@dataclass(frozen=True, slots=True)
class Steering:
    deployments: DeploymentReader
    queue: DeploymentQueue
    workflows: DeploymentWorkflows
    refused: RefusedCommands

    async def say(self, deployment: Deployment, verb: str, request: Request) -> AnswerView:
        """Say it. Raises Conflict where it has no effect, and Unavailable where no worker answers."""
        if deployment.is_queued:
            raise _too_early(deployment, verb)
        try:
            answer = await self.workflows.ask(deployment.workflow_id, deployment.deployment_id, verb, request)
        except Ended:
            raise without_workflow(await self.deployments.deployment(deployment.deployment_id)) from None
        except Conflict as refusal:
            await self._record(deployment, verb, request, refusal)
            raise
        except NoAnswer:
            raise Unavailable(
                f"no worker answered for {deployment.deployment_id}; {verb} may still take effect when one is "
                f"back, so look before saying it again. An abort is recorded even now."
            ) from None
        return _answered(deployment, answer)

    async def abort(self, deployment: Deployment, request: Abort) -> AnswerView:
        """Take all traffic from the candidate, and end; not `confirmed` where the workflow has not answered.

        Raises Ended when no workflow works on the deployment (any more), and Unavailable when Temporal doesn't answer.
        """
        if deployment.is_queued:
            if (left := await self._leave_line(deployment, request)) is not None:
                return left
            deployment = await self.deployments.deployment(deployment.deployment_id)
        if deployment.run_id is None and deployment.status.is_terminal:
            raise Ended  # it left the line, which the workflow that waited for its turn may not know yet
        try:
            answer = await self.workflows.ask(deployment.workflow_id, deployment.deployment_id, "abort", request)
        except NoAnswer:
            return await self._abort_by_signal(deployment, request, "no worker answers")
        except HotSwapError as error:
            # Whatever it is: a run takes 2,000 updates at most, for one, and many more signals.
            return await self._abort_by_signal(deployment, request, f"the update failed ({error.message})")
        return _answered(deployment, answer)

    async def _record(self, deployment: Deployment, verb: str, request: Request, refusal: Conflict) -> None:
        message = f"{refusal.message}: {request.reason}" if request.reason else refusal.message
        await self.refused.record_refusal(deployment.deployment_id, by=request.actor, verb=verb, message=message)

    async def _abort_by_signal(self, deployment: Deployment, request: Abort, problem: str) -> AnswerView:
        await self.workflows.abort_by_signal(deployment.workflow_id, deployment.deployment_id, request)
        return AnswerView(
            deployment_id=deployment.deployment_id,
            status=deployment.status,
            message=f"{problem}; the abort is recorded, and the next worker acts on it before anything else",
            confirmed=False,
            workflow_id=deployment.workflow_id,
        )

    async def _leave_line(self, deployment: Deployment, request: Abort) -> AnswerView | None:
        """End it before it began; None when it has begun meanwhile."""
        because = f": {request.reason}" if request.reason else ""
        left = await self.queue.leave(
            deployment.deployment_id,
            DeploymentStatus.CANCELLED,
            reason=Reason.ROLLBACK_REQUESTED if request.rollback else Reason.ABORTED,
            message=f"taken out of the line by {request.actor} before its turn came{because}",
            actor=request.actor,
        )
        if not left:
            return None
        with suppress(Ended, Unavailable):  # it would find out by itself
            await self.workflows.cancel_queue(deployment.deployment_id)
        return AnswerView(
            deployment_id=deployment.deployment_id,
            status=DeploymentStatus.CANCELLED,
            message="it has left the line, and will not start",
            workflow_id=deployment.workflow_id,
        )


def without_workflow(deployment: Deployment) -> Conflict:
    """Make the error that says what a deployment is that nothing works on."""
    name, status = deployment.deployment_id, deployment.status
    if status.is_terminal:
        because = f" ({deployment.reason}: {deployment.message})" if deployment.reason else ""
        return Conflict(f"{name} has ended: it is {status}{because}")
    if deployment.run_id is None:
        return Conflict(f"{name} was never started; the same request with its Idempotency-Key starts it")
    return Conflict(
        f"{name} is {status} by its record, but its workflow was terminated; what it left is undone within a minute "
        "or two"
    )


def _too_early(deployment: Deployment, verb: str) -> Conflict:
    name = deployment.deployment_id
    where = deployment.place.message if deployment.place is not None else "waits for its turn"
    return Conflict(
        f"{name} {where}; there is nothing to {verb} yet, and `hotswap abort {name}` takes it out of the line"
    )


def _answered(deployment: Deployment, answer: Answer) -> AnswerView:
    """Return the answer as people read it.

    Raises Conflict for a command that was accepted and yet had no effect, since another one was quicker: the workflow
    puts it on record.
    """
    if not answer.accepted:
        raise Conflict(f"{deployment.deployment_id} is {answer.status}, and {answer.message}")
    return AnswerView(
        deployment_id=deployment.deployment_id,
        status=answer.status,
        message=answer.message,
        workflow_id=deployment.workflow_id,
    )
