"""Commands of people to a deployment, and their effect in its present phase: a table of verbs by phase, as functions.

Each function takes the situation, and returns either what is requested from now on or why the command has no effect:
nothing that a person says is ignored. Pure: whether a person may give the command is decided by the API, and what is
then done by the policy.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.policy import HoldReason, Requests, RollBack, Rollout
from hotswap.domain.verdict import Reason

_S = DeploymentStatus

BEFORE_WEIGHT = frozenset({_S.PENDING, _S.AWAITING_APPROVAL, _S.VALIDATING, _S.DEPLOYING})
STEPPING = frozenset({_S.PROGRESSING, _S.PAUSED})
OVER = frozenset({_S.ROLLING_BACK, *(status for status in _S if status.is_terminal)})

START, BACKTEST = 0, -1
"""The waits for an approval before the first step, which is 1: of the start, and of what a backtest has found."""


@dataclass(frozen=True, slots=True)
class Situation:
    """The present state of a deployment; `rollout` is None before its steps. `gate` is the wait of AwaitingApproval."""

    status: DeploymentStatus
    requests: Requests = field(default_factory=Requests)
    rollout: Rollout | None = None
    gate: int = START

    @property
    def is_over(self) -> bool:
        """Return whether it rolls back, has ended, or will by an abort: nothing goes forward any more."""
        return self.status in OVER or self.requests.abort is not None

    @property
    def hold(self) -> HoldReason | None:
        return self.rollout.hold if self.rollout is not None and self.status is _S.PAUSED else None

    @property
    def waiting_step(self) -> int | None:
        """The number of the wait that an approval would end; None where nothing waits for an approval."""
        if self.status is _S.AWAITING_APPROVAL:
            number = self.gate
        elif self.hold is HoldReason.APPROVAL and self.rollout is not None:
            number = self.rollout.number
        else:
            return None
        return None if self.requests.approved == number else number


@dataclass(frozen=True, slots=True)
class Effect:
    """The requests from now on, and the effect in a few words."""

    requests: Requests
    message: str


@dataclass(frozen=True, slots=True)
class NoEffect:
    message: str


VerbResult = Effect | NoEffect


def approve(now: Situation, *, step: int | None, objection: str | None = None) -> VerbResult:
    """Approve a wait.

    `step` is the wait that is meant, None for the present one: a late or repeated approval opens no other. `objection`
    is why the approver may not approve (`hotswap/domain/approval.py`).
    """
    waiting = now.waiting_step
    if waiting is None or now.is_over:
        return NoEffect("nothing waits for an approval")
    if step not in (None, waiting):
        return NoEffect(f"step {step} doesn't wait for one; {_wait(waiting)} does")
    if objection is not None:
        return NoEffect(objection)
    return Effect(replace(now.requests, approved=waiting), f"{_wait(waiting)} is approved")


def reject(now: Situation, *, because: str) -> VerbResult:
    """Reject the deployment; `because` becomes the message that it ends with."""
    waiting = now.waiting_step
    if waiting is None or now.is_over:
        return NoEffect("nothing waits for an approval; abort ends it in any phase")
    before_weight = {START: "it ends before it began", BACKTEST: "it ends before any client has met it"}
    effect = before_weight.get(waiting, "all traffic is taken from the candidate")
    return Effect(_aborting(now.requests, RollBack(Reason.REJECTED, because)), effect)


def abort(now: Situation, cause: RollBack) -> VerbResult:
    if now.status in OVER:
        return NoEffect(f"it is {now.status} already")
    return Effect(_aborting(now.requests, cause), "all traffic is taken from the candidate")


def pause(now: Situation) -> VerbResult:
    if now.is_over:
        return NoEffect("it goes back or has ended, and steps no more")
    if now.requests.pause:
        return NoEffect("it is paused already; resume goes on")
    if now.hold is not None:
        return NoEffect(f"it waits already: {_how_to_end(now.hold)}")
    if now.status in BEFORE_WEIGHT:
        return Effect(replace(now.requests, pause=True), "it pauses before its first weight")
    if now.status is _S.PROGRESSING:
        return Effect(Requests(pause=True), "it stays at its present weight, watched for harm, until it is resumed")
    return NoEffect(f"it is {now.status} and steps no more")


def resume(now: Situation) -> VerbResult:
    if now.requests.pause and not now.is_over:
        return Effect(replace(now.requests, pause=False), "it goes on; the present step begins anew")
    if now.hold is not None:
        return NoEffect(f"it isn't paused by a person: {_how_to_end(now.hold)}")
    return NoEffect("it isn't paused")


def promote(now: Situation) -> VerbResult:
    """End the present bake as passed. It passes over no approval: that is somebody else's word."""
    if (rollout := _stepping(now)) is None:
        return NoEffect("there is no bake to end")
    if now.hold is HoldReason.APPROVAL:
        return NoEffect(f"its bake has passed: {_how_to_end(now.hold)}")
    if rollout.weight_verified_at is None:
        return NoEffect("its weight is being set and no bake has begun; say it again then")
    return Effect(Requests(promote=True), "the present bake ends as passed")


def promote_full(now: Situation) -> VerbResult:
    if (rollout := _stepping(now)) is None:
        return NoEffect("there is no bake to end")
    last = len(rollout.steps) - 1
    if gate := _gate(rollout, last):
        return NoEffect(f"step {gate} needs an approval first, which can't be passed over")
    return Effect(Requests(promote_full=True), "it goes to 100%")


def go_to(now: Situation, *, step: int) -> VerbResult:
    """Go to a step; `step` counts from 1."""
    if (rollout := _stepping(now)) is None:
        return NoEffect("it isn't stepping")
    if not 1 <= step <= len(rollout.steps):
        return NoEffect(f"there is no step {step}; its steps are 1 to {len(rollout.steps)}")
    if gate := _gate(rollout, step - 1):
        return NoEffect(f"step {gate} needs an approval first, which can't be passed over")
    target = rollout.steps[step - 1]
    if rollout.fleet is not None and rollout.fleet.once_at(target.weight, candidates=target.candidate_replicas) is None:
        return NoEffect(
            f"there is no room for both versions at {target.weight / 100:g}% ({rollout.fleet.plan.message})"
        )
    return Effect(Requests(go_to=step - 1), f"it goes to step {step}, {target.weight / 100:g}%")


def retry(now: Situation) -> VerbResult:
    if now.hold is HoldReason.NO_VERDICT and not now.is_over:
        return Effect(Requests(retry=True), "the analysis of the present step runs again")
    if now.is_over:
        return NoEffect(f"it is {now.status}; once it has ended, retry deploys it again")
    return NoEffect("no analysis of it has failed")


def scale(now: Situation) -> VerbResult:
    """Refuse to scale a deployment under way: its replicas follow its weights, and were promised to it as a whole."""
    if now.is_over:
        return NoEffect(f"it is {now.status}; what serves is scaled by `hotswap scale`")
    return NoEffect("its replicas are those of its plan until it is Active; `hotswap scale` has effect then")


def difference(before: Requests, after: Requests) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what was requested and what is now, where the two differ; an abort by its reason."""

    def told(requests: Requests) -> dict[str, Any]:
        return {name: getattr(requests, name) for name in Requests.__dataclass_fields__} | {
            "abort": requests.abort.reason if requests.abort is not None else None
        }

    was, is_now = told(before), told(after)
    changed = [name for name in was if was[name] != is_now[name]]
    return {name: was[name] for name in changed}, {name: is_now[name] for name in changed}


def _stepping(now: Situation) -> Rollout | None:
    """Return the rollout while it is at a step; None before the first, after the last, and on the way back."""
    if now.status not in STEPPING or now.is_over or now.rollout is None or now.rollout.step is None:
        return None
    return now.rollout


def _gate(rollout: Rollout, target: int) -> int | None:
    """Return the number of the first step before `target` that only an approval ends."""
    for position in range(rollout.position, target):
        if rollout.steps[position].pause is not None:
            return position + 1
    return None


def _aborting(requests: Requests, cause: RollBack) -> Requests:
    """Request an abort; the first one counts."""
    return requests if requests.abort is not None else replace(requests, abort=cause)


def _wait(step: int) -> str:
    return {START: "its start", BACKTEST: "what its backtest has found"}.get(step, f"step {step}")


def _how_to_end(hold: HoldReason) -> str:
    match hold:
        case HoldReason.PAUSED:
            return "resume goes on"
        case HoldReason.APPROVAL:
            return "approve or reject the step"
        case HoldReason.NO_VERDICT:
            return "retry judges again, promote goes on all the same, abort goes back"
