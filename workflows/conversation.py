"""The people's side of a deployment: what they may say, in any phase, and what they are shown.

Each verb is an update, which answers, and a signal of the same name, for `temporal workflow signal`. Nothing is
silently ignored: what could not be read, came too late or was misspelt shows in the workflow's details and on record.
An abort is never refused, not even a malformed one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.policy import Asked, RollBack, Rollout
    from hotswap.domain.verdict import Reason
    from hotswap.messages import Abort, Answer, Approve, Decision, Promote, Reject, Request
    from workflows import story
    from workflows.inbox import malformed, read

Kind = TypeVar("Kind", bound="Request")

VERBS = "approve, reject, promote, abort"

_DONE = frozenset(
    {
        DeploymentStatus.ROLLING_BACK,
        DeploymentStatus.ACTIVE,
        DeploymentStatus.ROLLED_BACK,
        DeploymentStatus.CANCELLED,
        DeploymentStatus.FAILED,
    }
)


class Conversation:
    """Holds what was asked until the workflow acts on it; `DeploymentWorkflow` is the only one to derive from it."""

    def __init__(self, deployment_id: str) -> None:
        self._deployment_id = deployment_id
        self._status = DeploymentStatus.PENDING
        self._message = "started"
        self._asked = Asked()
        self._approval: Approve | None = None
        self._rollout: Rollout | None = None
        self._verified_weight = 0
        self._notes: list[str] = []
        self._unrecorded: list[Decision] = []

    # --- verbs --------------------------------------------------------------------------------------------------------

    @workflow.update(name="approve", description='Approves the start that waits: {"by": "ann", "reason": "..."}')
    async def approve_update(self, *inputs: Any) -> Answer:
        return self._approve(read(Approve, inputs))

    @workflow.signal(name="approve", description='Approves the start that waits: {"by": "ann"}')
    async def approve_signal(self, *inputs: Any) -> None:
        if request := self._read_signal(Approve, inputs):
            self._approve(request)

    @workflow.update(name="reject", description='Refuses the start that waits: {"by": "ann", "reason": "..."}')
    async def reject_update(self, *inputs: Any) -> Answer:
        return self._reject(read(Reject, inputs))

    @workflow.signal(name="reject", description='Refuses the start that waits: {"by": "ann"}')
    async def reject_signal(self, *inputs: Any) -> None:
        if request := self._read_signal(Reject, inputs):
            self._reject(request)

    @workflow.update(
        name="promote", description='Ends the present bake as passed: {"by": "ann"}; with "full": true goes to 100%'
    )
    async def promote_update(self, *inputs: Any) -> Answer:
        return self._promote(read(Promote, inputs))

    @workflow.signal(name="promote", description='Ends the present bake as passed: {"by": "ann"}')
    async def promote_signal(self, *inputs: Any) -> None:
        if request := self._read_signal(Promote, inputs):
            self._promote(request)

    @workflow.update(
        name="abort", description='Takes all traffic from the candidate and ends: {"by": "ann", "reason": "..."}'
    )
    async def abort_update(self, *inputs: Any) -> Answer:
        return self._abort(self._read_abort(inputs))

    @workflow.signal(name="abort", description='Takes all traffic from the candidate and ends: {"by": "ann"}')
    async def abort_signal(self, *inputs: Any) -> None:
        self._abort(self._read_abort(inputs))

    @workflow.signal(dynamic=True, description="Any other name: noted, with no effect")
    async def unknown_signal(self, name: str, _: Sequence[RawValue]) -> None:
        self._note(f"signal {name!r} is not known and had no effect; the verbs are {VERBS}")

    @workflow.update(dynamic=True, description="Any other name: refused")
    async def unknown_update(self, name: str, _: Sequence[RawValue]) -> Answer:
        raise malformed(f"update {name!r} is not known; the verbs are {VERBS}")

    # --- their effects ------------------------------------------------------------------------------------------------

    def _approve(self, request: Approve) -> Answer:
        if self._status is not DeploymentStatus.AWAITING_APPROVAL or self._approval is not None:
            return self._no_effect(request, "approve", "nothing waits for an approval")
        if request.step not in (None, 0):
            return self._no_effect(request, "approve", f"step {request.step} doesn't wait for one; its start does")
        self._approval = request
        return self._accept(request, "approve", "its start is approved")

    def _reject(self, request: Reject) -> Answer:
        if self._status is not DeploymentStatus.AWAITING_APPROVAL or self._approval is not None:
            return self._no_effect(request, "reject", "nothing waits for an approval; abort ends it in any phase")
        self._ask_to_abort(RollBack(Reason.REJECTED, _said("rejected", request)))
        return self._accept(request, "reject", "it ends before it began")

    def _promote(self, request: Promote) -> Answer:
        rollout = self._rollout
        if self._status is not DeploymentStatus.PROGRESSING or rollout is None or rollout.step is None:
            return self._no_effect(request, "promote", "there is no bake to end")
        if request.full:
            self._asked = replace(self._asked, promote_full=True)
            return self._accept(request, "promote", "it goes to 100%")
        if rollout.weight_verified_at is None:
            return self._no_effect(
                request, "promote", "its weight is being set and no bake has begun; say it again then"
            )
        self._asked = replace(self._asked, promote=True)
        return self._accept(request, "promote", "the present bake ends as passed")

    def _abort(self, request: Abort) -> Answer:
        if self._status in _DONE:
            return self._no_effect(request, "abort", f"it is {self._status} already")
        reason = Reason.ROLLBACK_REQUESTED if request.rollback else Reason.ABORTED
        self._ask_to_abort(RollBack(reason, _said("rollback asked for" if request.rollback else "aborted", request)))
        return self._accept(request, "abort", "all traffic is taken from the candidate")

    def _ask_to_abort(self, action: RollBack) -> None:
        if self._asked.abort is None:
            self._asked = replace(self._asked, abort=action)

    # --- reading and telling ------------------------------------------------------------------------------------------

    def _read_signal(self, kind: type[Kind], inputs: Sequence[Any]) -> Kind | None:
        try:
            return read(kind, inputs)
        except ApplicationError as error:
            self._note(f"signal had no effect: {error.message}")
            return None

    def _read_abort(self, inputs: Sequence[Any]) -> Abort:
        try:
            return read(Abort, inputs)
        except ApplicationError as error:
            return Abort(reason=f"what was said could not be read ({error.message[:1000]})")

    def _accept(self, request: Request, verb: str, effect: str) -> Answer:
        self._note(_said(f"{verb}: {effect}", request), kind=verb, actor=request.actor)
        return Answer(accepted=True, message=effect, status=self._status)

    def _no_effect(self, request: Request, verb: str, why: str) -> Answer:
        self._note(_said(f"{verb} had no effect: {why}", request), kind=verb, actor=request.actor)
        return Answer(accepted=False, message=why, status=self._status)

    def _note(self, text: str, *, kind: str = "message", actor: str = "unknown") -> None:
        self._notes.append(f"{workflow.now():%H:%M:%S} {text}")
        self._unrecorded.append(
            Decision(
                id=str(workflow.uuid4()),
                deployment_id=self._deployment_id,
                kind=kind,
                actor=actor,
                message=text[:2_000],
            )
        )
        self._tell()

    def _tell(self) -> None:
        """Bring the details that the Temporal Web UI shows up to date; it costs no history."""
        workflow.set_current_details(
            story.details(
                status=self._status,
                message=self._message,
                rollout=self._rollout,
                verified_weight=self._verified_weight,
                notes=self._notes,
            )
        )


def _said(what: str, request: Request) -> str:
    return f"{what}, by {request.actor}" + (f": {request.reason}" if request.reason else "")
