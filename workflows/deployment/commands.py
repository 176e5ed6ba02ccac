"""Commands to a deployment, which people may give in any phase: their updates and signals, and their effect.

Each verb is an update, which answers, and a signal of the same name, for `temporal workflow signal`.
`hotswap/domain/verbs.py` decides what a verb does in the deployment's present state; the workflow acts on the requests
that result. An update that is malformed or has no effect is refused by its validator, before it is accepted: it leaves
no event, so nobody can use up the updates that a run may take. A signal can't be refused: one without effect shows in
the workflow's details and is put on record. An abort is never refused, not even a malformed one.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from hotswap.domain import verbs
    from hotswap.domain.approval import objection
    from hotswap.domain.errors import Conflict
    from hotswap.domain.policy import RollBack
    from hotswap.domain.verdict import Reason
    from hotswap.messages import (
        Abort,
        Answer,
        Approve,
        GoToStep,
        Pause,
        Promote,
        Reject,
        Request,
        Resume,
        Retry,
        Rollback,
        Scale,
    )
    from hotswap.telemetry.logs import trace_id
    from workflows.command_inputs import malformed, read, read_abort
    from workflows.deployment.context import Context

VERBS = {
    "approve": 'Approves what waits, the start or a step: {"by": "ann"}; "step" says which is meant',
    "reject": 'Refuses what waits for an approval, which ends the deployment: {"by": "ann"}',
    "pause": 'Stays at the present weight, watched for harm: {"by": "ann"}',
    "resume": 'Ends a pause; the present step begins anew: {"by": "ann"}',
    "promote": 'Ends the present bake as passed: {"by": "ann"}; with "full": true goes to 100%',
    "goto": 'Goes to a step, counted from 1: {"by": "ann", "step": 2}',
    "retry": 'Runs an analysis again that came to no verdict: {"by": "ann"}',
    "abort": 'Takes all traffic from the candidate and ends: {"by": "ann", "reason": "..."}',
    "rollback": 'An abort, on record as a rollback: {"by": "ann", "reason": "..."}',
    "scale": "Refused with the reason: what is under way has the replicas of its plan",
}
"""Each verb's description, as Temporal shows it."""


class Commands:
    """Decides what comes of a command, and keeps what was requested until the workflow acts on it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def check(self, kind: type[Request], inputs: Sequence[Any]) -> None:
        """Refuse a command that is malformed or has no effect; change nothing.

        Raises ApplicationError of type CONFLICT with the message that the API answers, and VALIDATION_ERROR.
        """
        answer = self._decide(read(kind, inputs))
        if isinstance(answer, verbs.NoEffect):
            context = self._context
            message = f"{context.request.deployment_id} is {context.progress.status}, and {answer.message}"
            raise ApplicationError(message, type=Conflict.code, non_retryable=True)

    def update(self, verb: str, kind: type[Request], inputs: Sequence[Any]) -> Answer:
        """Read and handle a command. One that another command of the same task has overtaken is refused and noted."""
        try:
            request = read(kind, inputs)
        except ApplicationError as error:
            self._context.note(f"{verb} had no effect: {error.message}", may_drop=True)
            raise
        return self.handle(verb, request)

    def signal(self, verb: str, kind: type[Request], inputs: Sequence[Any]) -> None:
        """Handle a command like `update`, without an answer."""
        with suppress(ApplicationError):
            self.update(verb, kind, inputs)

    def handle(self, verb: str, request: Request) -> Answer:
        """Keep what results from a command, or say why it has no effect; either is noted."""
        context, commands = self._context, self._context.commands
        answer = self._decide(request)
        status = context.progress.status
        if isinstance(answer, verbs.NoEffect):
            text = _by(f"{verb} had no effect: {answer.message}", request)
            context.note(text, kind=verb, actor=request.actor, may_drop=True)
            return Answer(accepted=False, message=answer.message, status=status)
        if isinstance(request, Approve):
            commands.approval, commands.approval_trace_id = request, trace_id.get()
        if commands.requests.abort is None and answer.requests.abort is not None:
            commands.abort_trace_id = trace_id.get()
        change = verbs.difference(commands.requests, answer.requests)
        commands.requests = answer.requests
        text, repeated = _by(f"{verb}: {answer.message}", request), not change[1]
        context.note(text, kind=verb, actor=request.actor, change=change, may_drop=repeated)
        return Answer(accepted=True, message=answer.message, status=status)

    def _decide(self, request: Request) -> verbs.VerbResult:
        progress, commands = self._context.progress, self._context.commands
        if not self._context.takes_commands and not isinstance(request, Abort):
            return verbs.NoEffect("so many commands wait to be put on record that only an abort is taken; say it later")
        now = verbs.Situation(progress.status, commands.requests, progress.rollout, commands.gate)
        match request:
            case Approve():
                return verbs.approve(now, step=request.step, objection=self._objection(request))
            case Reject():
                return verbs.reject(now, because=_by("rejected", request))
            case Pause():
                return verbs.pause(now)
            case Resume():
                return verbs.resume(now)
            case Promote():
                return verbs.promote_full(now) if request.full else verbs.promote(now)
            case GoToStep():
                return verbs.go_to(now, step=request.step)
            case Retry():
                return verbs.retry(now)
            case Abort():
                return verbs.abort(now, _abort_cause(request))
            case Scale():
                return verbs.scale(now)
            case _:
                raise TypeError(f"{type(request).__name__} is no verb")

    def _objection(self, approval: Approve) -> str | None:
        """Return why the approver may not approve, or None if nothing is against it."""
        rule, initiator = self._context.request.four_eyes, self._context.request.initiated_by
        return objection(rule, by=approval.by, asked_for_by=initiator, is_claimed=approval.is_claimed)


class CommandHandlers:
    """The handlers of `DeploymentWorkflow`, which derives from this: Temporal finds them as members of its class."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._commands = Commands(context)

    @workflow.update(name="approve", description=VERBS["approve"])
    async def approve_update(self, *inputs: Any) -> Answer:
        return self._commands.update("approve", Approve, inputs)

    @approve_update.validator
    def check_approve(self, *inputs: Any) -> None:
        self._commands.check(Approve, inputs)

    @workflow.signal(name="approve", description=VERBS["approve"])
    async def approve_signal(self, *inputs: Any) -> None:
        self._commands.signal("approve", Approve, inputs)

    @workflow.update(name="reject", description=VERBS["reject"])
    async def reject_update(self, *inputs: Any) -> Answer:
        return self._commands.update("reject", Reject, inputs)

    @reject_update.validator
    def check_reject(self, *inputs: Any) -> None:
        self._commands.check(Reject, inputs)

    @workflow.signal(name="reject", description=VERBS["reject"])
    async def reject_signal(self, *inputs: Any) -> None:
        self._commands.signal("reject", Reject, inputs)

    @workflow.update(name="pause", description=VERBS["pause"])
    async def pause_update(self, *inputs: Any) -> Answer:
        return self._commands.update("pause", Pause, inputs)

    @pause_update.validator
    def check_pause(self, *inputs: Any) -> None:
        self._commands.check(Pause, inputs)

    @workflow.signal(name="pause", description=VERBS["pause"])
    async def pause_signal(self, *inputs: Any) -> None:
        self._commands.signal("pause", Pause, inputs)

    @workflow.update(name="resume", description=VERBS["resume"])
    async def resume_update(self, *inputs: Any) -> Answer:
        return self._commands.update("resume", Resume, inputs)

    @resume_update.validator
    def check_resume(self, *inputs: Any) -> None:
        self._commands.check(Resume, inputs)

    @workflow.signal(name="resume", description=VERBS["resume"])
    async def resume_signal(self, *inputs: Any) -> None:
        self._commands.signal("resume", Resume, inputs)

    @workflow.update(name="promote", description=VERBS["promote"])
    async def promote_update(self, *inputs: Any) -> Answer:
        return self._commands.update("promote", Promote, inputs)

    @promote_update.validator
    def check_promote(self, *inputs: Any) -> None:
        self._commands.check(Promote, inputs)

    @workflow.signal(name="promote", description=VERBS["promote"])
    async def promote_signal(self, *inputs: Any) -> None:
        self._commands.signal("promote", Promote, inputs)

    @workflow.update(name="goto", description=VERBS["goto"])
    async def goto_update(self, *inputs: Any) -> Answer:
        return self._commands.update("goto", GoToStep, inputs)

    @goto_update.validator
    def check_goto(self, *inputs: Any) -> None:
        self._commands.check(GoToStep, inputs)

    @workflow.signal(name="goto", description=VERBS["goto"])
    async def goto_signal(self, *inputs: Any) -> None:
        self._commands.signal("goto", GoToStep, inputs)

    @workflow.update(name="retry", description=VERBS["retry"])
    async def retry_update(self, *inputs: Any) -> Answer:
        return self._commands.update("retry", Retry, inputs)

    @retry_update.validator
    def check_retry(self, *inputs: Any) -> None:
        self._commands.check(Retry, inputs)

    @workflow.signal(name="retry", description=VERBS["retry"])
    async def retry_signal(self, *inputs: Any) -> None:
        self._commands.signal("retry", Retry, inputs)

    @workflow.update(name="abort", description=VERBS["abort"])
    async def abort_update(self, *inputs: Any) -> Answer:
        return self._commands.handle("abort", read_abort(Abort, inputs))

    @workflow.signal(name="abort", description=VERBS["abort"])
    async def abort_signal(self, *inputs: Any) -> None:
        self._commands.handle("abort", read_abort(Abort, inputs))

    @workflow.update(name="rollback", description=VERBS["rollback"])
    async def rollback_update(self, *inputs: Any) -> Answer:
        return self._commands.handle("rollback", read_abort(Rollback, inputs))

    @workflow.signal(name="rollback", description=VERBS["rollback"])
    async def rollback_signal(self, *inputs: Any) -> None:
        self._commands.handle("rollback", read_abort(Rollback, inputs))

    @workflow.update(name="scale", description=VERBS["scale"])
    async def scale_update(self, *inputs: Any) -> Answer:
        return self._commands.update("scale", Scale, inputs)

    @scale_update.validator
    def check_scale(self, *inputs: Any) -> None:
        self._commands.check(Scale, inputs)

    @workflow.signal(name="scale", description=VERBS["scale"])
    async def scale_signal(self, *inputs: Any) -> None:
        self._commands.signal("scale", Scale, inputs)

    @workflow.update(dynamic=True, description="Any other name: refused")
    async def unknown_update(self, name: str, _: Sequence[RawValue]) -> Answer:
        raise _unknown(name)

    @unknown_update.validator
    def check_unknown(self, name: str, _: Sequence[RawValue]) -> None:
        raise _unknown(name)

    @workflow.signal(dynamic=True, description="Any other name: noted, with no effect")
    async def unknown_signal(self, name: str, _: Sequence[RawValue]) -> None:
        text = f"signal {name!r} is not known and had no effect; the verbs are {', '.join(VERBS)}"
        self._context.note(text, may_drop=True)


def _unknown(update: str) -> ApplicationError:
    return malformed(f"update {update!r} is not known; the verbs are {', '.join(VERBS)}")


def _abort_cause(request: Abort) -> RollBack:
    if request.rollback:
        return RollBack(Reason.ROLLBACK_REQUESTED, _by("rollback asked for", request))
    if request.superseded_by is not None:
        return RollBack(Reason.SUPERSEDED, _by(f"superseded by {request.superseded_by}", request))
    return RollBack(Reason.ABORTED, _by("aborted", request))


def _by(message: str, request: Request) -> str:
    """Add who said it, and the reason that they gave."""
    return f"{message}, by {request.actor}" + (f": {request.reason}" if request.reason else "")
