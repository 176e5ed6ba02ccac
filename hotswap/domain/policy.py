"""Decide: what a rollout does next, from what is known, at a given time.

Pure, so a past decision can be explained and replayed: the same state, requests and clock give the same action. The
workflow only applies what is answered here. Nothing but a pass, or a person who takes it on himself, moves a rollout
forward (invariant 9); an abort beats everything else that is known at the same moment.
"""

from dataclasses import dataclass, replace

from hotswap.domain.strategy import Step
from hotswap.domain.traffic import FULL
from hotswap.domain.verdict import Outcome, Reason, Verdict


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where a rollout is. `weight_verified_at` and `verdict` are of the present step, None until there is one."""

    steps: tuple[Step, ...]
    position: int = 0
    weight_verified_at: float | None = None
    verdict: Verdict | None = None

    @property
    def step(self) -> Step | None:
        """The step that is under way, None when all are done."""
        return self.steps[self.position] if self.position < len(self.steps) else None

    @property
    def progress(self) -> int:
        """Percent of the steps whose weight has been reached and passed."""
        return round(100 * self.position / len(self.steps)) if self.steps else 0

    def verified(self, *, at: float) -> "Rollout":
        return replace(self, weight_verified_at=at)

    def judged(self, verdict: Verdict) -> "Rollout":
        return replace(self, verdict=verdict)

    def at_step(self, position: int) -> "Rollout":
        return replace(self, position=position, weight_verified_at=None, verdict=None)


@dataclass(frozen=True, slots=True)
class Asked:
    """What people have asked for and no action has answered yet."""

    abort: "RollBack | None" = None
    promote: bool = False
    promote_full: bool = False


@dataclass(frozen=True, slots=True)
class SetWeight:
    weight: int


@dataclass(frozen=True, slots=True)
class Bake:
    """Watch the candidate until `until`, and while data is lacking until `deadline` (Unix time, seconds)."""

    until: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Wait:
    until: float


@dataclass(frozen=True, slots=True)
class GoTo:
    """Leave this step for that one; `position` may be one past the last, from which there is only promotion."""

    position: int
    why: str


@dataclass(frozen=True, slots=True)
class RollBack:
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Promote:
    pass


Action = SetWeight | Bake | Wait | GoTo | RollBack | Promote


def next_action(rollout: Rollout, asked: Asked, *, now: float) -> Action:
    """The one next thing to do; `now` is Unix time in seconds."""
    if asked.abort is not None:
        return asked.abort
    if not rollout.steps:
        return RollBack(Reason.FAILED, "the strategy has no steps, and nothing is promoted by omission")
    step = rollout.step
    if step is None:
        return Promote()
    if asked.promote_full and step.weight != FULL:
        return GoTo(len(rollout.steps) - 1, "promoted to 100% by request")
    if rollout.weight_verified_at is None:
        return SetWeight(step.weight)
    if not step.judged:
        return GoTo(rollout.position + 1, "nothing to judge against")
    if asked.promote or asked.promote_full:
        return GoTo(rollout.position + 1, "bake ended as passed by request")
    until = rollout.weight_verified_at + step.bake_seconds
    if rollout.verdict is None:
        return Bake(until=until, deadline=rollout.weight_verified_at + step.deadline_seconds)
    return _after(rollout.verdict, rollout, until=until, now=now)


def _after(verdict: Verdict, rollout: Rollout, *, until: float, now: float) -> Action:
    match verdict.outcome:
        case Outcome.PASS:
            # A worker whose clock runs fast must not shorten a bake.
            return Wait(until) if now < until else GoTo(rollout.position + 1, verdict.message)
        case Outcome.HARM:
            return RollBack(verdict.reason or Reason.FAILED, verdict.message)
        case Outcome.INSUFFICIENT_DATA:
            return RollBack(Reason.INSUFFICIENT_DATA, verdict.message)
        case Outcome.INCONCLUSIVE | Outcome.ERROR:
            return RollBack(Reason.ANALYSIS_FAILED, verdict.message)
