"""The people's side of a deployment: what they may say, in any phase, and what they are shown.

Each verb is an update, which answers, and a signal of the same name, for `temporal workflow signal`; what comes of it
where the deployment is says `hotswap/domain/verbs.py`. Nothing is silently ignored: what could not be read, came too
late or was misspelt shows in the workflow's details and on record. An abort is never refused, not even a malformed one.
"""

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from hotswap.domain import verbs
    from hotswap.domain.approval import objection
    from hotswap.domain.backtest import BacktestReport
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.policy import Requests, RollBack, Rollout
    from hotswap.domain.verdict import Reason
    from hotswap.messages import (
        Abort,
        Answer,
        Approve,
        Decision,
        DeploymentInput,
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
    from workflows import story
    from workflows.inbox import malformed, verb

Change = tuple[dict[str, Any] | None, dict[str, Any] | None]

VERBS = "approve, reject, pause, resume, promote, goto, retry, abort, rollback, scale"


class Conversation:
    """Holds what was asked until the workflow acts on it; `DeploymentWorkflow` is the only one to derive from it."""

    def __init__(self, request: DeploymentInput) -> None:
        self._request = request
        self._status = DeploymentStatus.PENDING
        self._message = "started"
        self._asked = Requests()
        self._approval: Approve | None = None
        self._approved_under: str | None = None
        self._aborted_under: str | None = None
        """The trace ids of who said so."""
        self._gate = verbs.START
        """What an approval ends where it is AwaitingApproval."""
        self._backtest: BacktestReport | None = None
        self._rollout: Rollout | None = None
        self._verified_weight = 0
        self._notes: list[str] = []
        self._unrecorded: list[Decision] = []

    approve_update, approve_signal = verb(
        "approve", Approve, 'Approves what waits, the start or a step: {"by": "ann"}; "step" says which is meant'
    )
    reject_update, reject_signal = verb(
        "reject", Reject, 'Refuses what waits for an approval, which ends the deployment: {"by": "ann"}'
    )
    pause_update, pause_signal = verb("pause", Pause, 'Stays at the present weight, watched for harm: {"by": "ann"}')
    resume_update, resume_signal = verb("resume", Resume, 'Ends a pause; the present step begins anew: {"by": "ann"}')
    promote_update, promote_signal = verb(
        "promote", Promote, 'Ends the present bake as passed: {"by": "ann"}; with "full": true goes to 100%'
    )
    goto_update, goto_signal = verb("goto", GoToStep, 'Goes to a step, counted from 1: {"by": "ann", "step": 2}')
    retry_update, retry_signal = verb("retry", Retry, 'Runs an analysis again that came to no verdict: {"by": "ann"}')
    abort_update, abort_signal = verb(
        "abort", Abort, 'Takes all traffic from the candidate and ends: {"by": "ann", "reason": "..."}'
    )

    rollback_update, rollback_signal = verb(
        "rollback", Rollback, 'An abort, on record as a rollback: {"by": "ann", "reason": "..."}'
    )
    scale_update, scale_signal = verb(
        "scale", Scale, "Refused with the reason: what is under way has the replicas of its plan"
    )

    @workflow.signal(dynamic=True, description="Any other name: noted, with no effect")
    async def unknown_signal(self, name: str, _: Sequence[RawValue]) -> None:
        self._note(f"signal {name!r} is not known and had no effect; the verbs are {VERBS}")

    @workflow.update(dynamic=True, description="Any other name: refused")
    async def unknown_update(self, name: str, _: Sequence[RawValue]) -> Answer:
        raise malformed(f"update {name!r} is not known; the verbs are {VERBS}")

    # --- hearing ------------------------------------------------------------------------------------------------------

    def hear(self, verb: str, request: Request) -> Answer:
        answer = self._what_comes_of(request)
        if isinstance(answer, verbs.NoEffect):
            self._note(_said(f"{verb} had no effect: {answer.why}", request), kind=verb, actor=request.actor)
            return Answer(accepted=False, message=answer.why, status=self._status)
        if isinstance(request, Approve):
            self._approval, self._approved_under = request, trace_id.get()
        if self._asked.abort is None and answer.requests.abort is not None:
            self._aborted_under = trace_id.get()
        change = verbs.difference(self._asked, answer.requests)
        self._asked = answer.requests
        self._note(_said(f"{verb}: {answer.message}", request), kind=verb, actor=request.actor, change=change)
        return Answer(accepted=True, message=answer.message, status=self._status)

    def _what_comes_of(self, request: Request) -> verbs.Answer:
        now = verbs.Situation(self._status, self._asked, self._rollout, self._gate)
        match request:
            case Approve():
                return verbs.approve(now, step=request.step, objection=self._objection(request))
            case Reject():
                return verbs.reject(now, because=_said("rejected", request))
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
        rule, asked_for_by = self._request.four_eyes, self._request.initiated_by
        return objection(rule, by=approval.by, asked_for_by=asked_for_by, is_claimed=approval.is_claimed)

    def could_not_read(self, verb: str, problem: ApplicationError) -> Abort | None:
        if verb in {"abort", "rollback"}:
            unread = f"what was said could not be read ({problem.message[:1000]})"
            return Abort(rollback=verb == "rollback", reason=unread)
        self._note(f"{verb} had no effect: {problem.message}")
        return None

    # --- telling ------------------------------------------------------------------------------------------------------

    def _note(self, text: str, *, kind: str = "message", actor: str = "unknown", change: Change = (None, None)) -> None:
        before, after = change
        self._notes.append(f"{workflow.now():%H:%M:%S} {text}")
        self._unrecorded.append(
            Decision(
                id=str(workflow.uuid4()),
                deployment_id=self._request.deployment_id,
                kind=kind,
                actor=actor,
                message=text[:2_000],
                before=before,
                after=after,
                trace_id=trace_id.get(),
            )
        )
        self._tell()

    def _tell(self) -> None:
        """Bring the details that the Temporal Web UI shows up to date; it costs no history."""
        workflow.set_current_details(
            story.details(
                status=self._status,
                message=self._message,
                backtest=self._backtest,
                rollout=self._rollout,
                verified_weight=self._verified_weight,
                notes=self._notes,
            )
        )


def _abort_cause(request: Abort) -> RollBack:
    if request.rollback:
        return RollBack(Reason.ROLLBACK_REQUESTED, _said("rollback asked for", request))
    if request.superseded_by is not None:
        return RollBack(Reason.SUPERSEDED, _said(f"superseded by {request.superseded_by}", request))
    return RollBack(Reason.ABORTED, _said("aborted", request))


def _said(what: str, request: Request) -> str:
    return f"{what}, by {request.actor}" + (f": {request.reason}" if request.reason else "")
