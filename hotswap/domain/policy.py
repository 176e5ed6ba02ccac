"""Decide: what a rollout does next, from what is known, at a given time.

Pure, so a past decision can be explained and replayed: the same state, requests and clock give the same action. The
workflow only applies what is answered here. Nothing but a pass, or a person who answers for it, moves a rollout
forward (invariant 9); an abort beats everything else that is known at the same moment, and harm all that is left. What
people may ask for, and when, is `hotswap/domain/verbs.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from hotswap.domain.analysis import NoVerdict
from hotswap.domain.baking import extended
from hotswap.domain.fleet import Fleet, Scale, Shift, Stuck
from hotswap.domain.strategy import OnLimit, OnNoVerdict, Rules, Step, StepPause
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.verdict import Outcome, Reason, Verdict

_UNPROVEN = {
    Outcome.INSUFFICIENT_DATA: Reason.INSUFFICIENT_DATA,
    Outcome.INCONCLUSIVE: Reason.INCONCLUSIVE,
}
"""The reasons of a rollback without evidence for good or for harm."""

WHAT_NEXT = (
    "nothing was proven against it: deploy it again with a longer `bakeDeadline`, or with `onNoVerdict: hold`, which "
    "waits for a person, or `promote` the step before its deadline; where what serves is down and this is the fix, "
    "`hotswap deploy --emergency` skips the bakes"
)

STILL_SERVES = "it goes on serving, since nothing else could, and counts as no good version: deploy one that mends it"


class HoldReason(StrEnum):
    """The reason why a rollout stays where it is; each has commands of its own that end it."""

    PAUSED = "Paused"
    APPROVAL = "Approval"
    NO_VERDICT = "NoVerdict"


@dataclass(frozen=True, slots=True)
class Rollout:
    """The position of a rollout. Weight, verdict and hold are of the present step, None until there is one.

    Times are Unix time in seconds. The `fleet` is what both arms have; without one there is room for everything.
    """

    steps: tuple[Step, ...]
    position: int = 0
    weight_verified_at: float | None = None
    verdict: Verdict | None = None
    hold: HoldReason | None = None
    held_since: float | None = None
    rules: Rules = field(default_factory=Rules)
    fleet: Fleet | None = None
    bake_until: float | None = None
    """The end of the present bake, if it was extended."""
    evidence: Mapping[str, float] = field(default_factory=dict)
    """The evidence of the steps before this one, from which its judges go on."""

    @property
    def step(self) -> Step | None:
        """The step that is under way, None when all are done."""
        return self.steps[self.position] if self.position < len(self.steps) else None

    @property
    def number(self) -> int:
        """The present step's number, as people count: the first is 1, and 0 is the start."""
        return self.position + 1

    @property
    def progress(self) -> int:
        """Percent of the steps whose weight has been reached and passed."""
        return round(100 * self.position / len(self.steps)) if self.steps else 0

    @property
    def is_reached(self) -> bool:
        """Return whether the arms have the replicas and the weight of the present step."""
        step, fleet = self.step, self.fleet
        if step is None or fleet is None:
            return True
        return fleet.weight == step.weight and fleet.move_to(step.weight, candidates=step.candidate_replicas) is None

    def moved(self, move: Scale | Shift) -> "Rollout":
        return self if self.fleet is None else replace(self, fleet=self.fleet.after(move))

    def verified(self, *, at: float) -> "Rollout":
        return replace(self, weight_verified_at=at)

    def judged(self, verdict: Verdict) -> "Rollout":
        return replace(self, verdict=verdict)

    def extended(self, *, until: float) -> "Rollout":
        return replace(self, bake_until=until, verdict=None)

    def held(self, reason: HoldReason, *, at: float) -> "Rollout":
        """Return it as held from `at` on; where it is held for that already, nothing changes."""
        return self if self.hold is reason else replace(self, hold=reason, held_since=at)

    def at_step(self, position: int) -> "Rollout":
        """Leave this step for that one, with the evidence of what was judged here."""
        evidence = self.verdict.evidence if self.verdict is not None else self.evidence
        return Rollout(self.steps, position, rules=self.rules, fleet=self.fleet, evidence=evidence)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of people that no action has answered yet.

    `go_to` is a position; `approved` the number of the step that an approval was given for, 0 for the start.
    """

    abort: "RollBack | None" = None
    pause: bool = False
    promote: bool = False
    promote_full: bool = False
    retry: bool = False
    go_to: int | None = None
    approved: int | None = None

    def answered(self) -> "Requests":
        """Return what is left when a step has been reached: an abort, and a pause that is not ended yet."""
        return Requests(abort=self.abort, pause=self.pause)


@dataclass(frozen=True, slots=True)
class Bake:
    """Watch the candidate until `until`, and while data is lacking until `deadline` (Unix time, seconds)."""

    until: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Extend:
    """Go on with the bake until then: its evidence needs more requests than came so far."""

    until: float
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    until: float


@dataclass(frozen=True, slots=True)
class Hold:
    """Stay at this weight, watched for harm, until somebody speaks, or `until` (None: for as long as it takes)."""

    reason: HoldReason
    until: float | None
    message: str


@dataclass(frozen=True, slots=True)
class GoTo:
    """Leave this step for that one; `position` may be one past the last, from which there is only promotion."""

    position: int
    message: str


@dataclass(frozen=True, slots=True)
class RollBack:
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Fail:
    """End as failed and leave the traffic where it is: there is nothing to go back to."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Promote:
    pass


Action = Shift | Scale | Bake | Extend | Wait | Hold | GoTo | RollBack | Fail | Promote


def next_action(rollout: Rollout, requests: Requests, *, now: float) -> Action:
    """Return the one next thing to do; `now` is Unix time in seconds."""
    if requests.abort is not None:
        return requests.abort
    if not rollout.steps:
        return RollBack(Reason.FAILED, "the strategy has no steps, and nothing is promoted by omission")
    step = rollout.step
    if step is None:
        return Promote()
    if rollout.verdict is not None and rollout.verdict.outcome is Outcome.HARM:
        return _harmed(step, rollout.verdict)
    if rollout.fleet is not None and rollout.fleet.shed:
        return _move(rollout, step)  # nobody's pause begins while requests are turned away
    if requests.pause:
        return _hold(rollout, HoldReason.PAUSED, rollout.rules.pause, "paused; `resume` goes on", now=now)
    return _go_where_requested(rollout, step, requests) or _step(rollout, step, requests, now=now)


def _harmed(step: Step, verdict: Verdict) -> RollBack | Fail:
    reason = verdict.reason or Reason.FAILED
    if not step.is_first:
        return RollBack(reason, verdict.message)
    return Fail(reason, f"{verdict.message}; {STILL_SERVES}")


def _go_where_requested(rollout: Rollout, step: Step, requests: Requests) -> GoTo | None:
    """Return the step that people want it to be at instead, if they want any."""
    if requests.go_to is not None:
        return GoTo(requests.go_to, f"to step {requests.go_to + 1} by request")
    if requests.promote_full and step.weight != TOTAL_WEIGHT:
        return GoTo(len(rollout.steps) - 1, "promoted to 100% by request")
    if requests.retry:
        return GoTo(rollout.position, f"the analysis of step {rollout.number} runs again by request")
    if rollout.hold is HoldReason.PAUSED and not requests.promote and not requests.promote_full:
        return GoTo(rollout.position, f"resumed: step {rollout.number} begins anew")
    return None


def _step(rollout: Rollout, step: Step, requests: Requests, *, now: float) -> Action:
    """Follow the present step's own course: its weight, its bake, its judgement, its pause."""
    if rollout.weight_verified_at is None:
        return _move(rollout, step)
    began, deadline = rollout.weight_verified_at, rollout.weight_verified_at + step.deadline_seconds
    until = rollout.bake_until if rollout.bake_until is not None else began + step.bake_seconds
    if requests.promote or requests.promote_full:
        return _passed(rollout, step, requests, "bake ended as passed by request", now=now)
    if not step.judged:
        return Wait(until) if now < until else _passed(rollout, step, requests, "nothing to judge against", now=now)
    if rollout.verdict is None:
        return Bake(until=until, deadline=deadline)
    if rollout.verdict.outcome is Outcome.PASS:
        # A worker whose clock runs fast must not shorten a bake; only what is shown already may.
        waits = now < until and not rollout.verdict.early
        return Wait(until) if waits else _passed(rollout, step, requests, rollout.verdict.message, now=now)
    if step.is_first:
        told = f"it can't be told whether this first version does well: {rollout.verdict.message}"
        return _passed(rollout, step, requests, told, now=now)
    more = extended(rollout.verdict, at=now, begun_at=began, deadline=deadline)
    if more is not None:
        told = f"the bake of step {rollout.number} goes on for {more - now:.0f} s: {rollout.verdict.message}"
        return Extend(more, told)
    return _without_verdict(rollout, rollout.verdict, now=now)


def _move(rollout: Rollout, step: Step) -> Action:
    """Go towards the step's weight: at once where there is room, else a move at a time."""
    if rollout.fleet is None:
        return Shift(step.weight)
    try:
        move = rollout.fleet.move_to(step.weight, candidates=step.candidate_replicas)
    except Stuck:
        said = f"there is no room for both versions at {step.weight / 100:g}%: {rollout.fleet.plan.message}"
        return RollBack(Reason.INSUFFICIENT_CAPACITY, said)
    return Shift(step.weight) if move is None else move


def _passed(rollout: Rollout, step: Step, requests: Requests, message: str, *, now: float) -> Action:
    if step.pause is None:
        return GoTo(rollout.position + 1, message)
    if requests.approved == rollout.number:
        return GoTo(rollout.position + 1, f"step {rollout.number} is approved")
    waits = f"step {rollout.number} has passed and waits for an approval"
    return _hold(rollout, HoldReason.APPROVAL, step.pause, waits, now=now)


def _without_verdict(rollout: Rollout, verdict: Verdict, *, now: float) -> Action:
    reason = verdict.reason or _UNPROVEN.get(verdict.outcome, Reason.ANALYSIS_FAILED)
    held = rollout.rules.on_no_verdict is OnNoVerdict.HOLD
    if verdict.action is NoVerdict.HOLD or (verdict.action is NoVerdict.EXTEND and held):
        said = f"{verdict.outcome}: {verdict.message}; `retry` judges again, `promote` goes on all the same"
        return _hold(rollout, HoldReason.NO_VERDICT, rollout.rules.pause, said, now=now)
    said = f"{verdict.outcome}: {verdict.message}; {WHAT_NEXT}"
    return RollBack(reason, said)


def _hold(rollout: Rollout, reason: HoldReason, pause: StepPause, message: str, *, now: float) -> Action:
    since = rollout.held_since if rollout.hold is reason and rollout.held_since is not None else now
    if pause.limit_seconds is None:
        return Hold(reason, None, message)
    until = since + pause.limit_seconds
    if now < until:
        return Hold(reason, until, message)
    if reason is HoldReason.APPROVAL and pause.on_limit is OnLimit.PROCEED:
        return GoTo(rollout.position + 1, f"nobody spoke against step {rollout.number} within its limit")
    return RollBack(Reason.DEADLINE_EXCEEDED, f"nobody spoke within {pause.limit_seconds:g} s: {message}")
