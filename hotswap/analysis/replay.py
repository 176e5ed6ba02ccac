"""Judges a past deployment again, from its recorded observations, under a policy that may be another.

Nothing is invented: a bake that the policy would have gone on with beyond what was seen ends as not known, and so does
a weight that it has no step for. What people said is taken as they said it, since nobody knows what they had said
otherwise: a rollout that was held, and was seen again, went on. Under the policy that it ran by, it comes to the
recorded verdicts. Pure.

It decides by `next_action` and applies that, as `workflows/deployment/rollout.py` does; only time and the watch are
those of a recording.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import assert_never

from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, BakeRecord
from hotswap.domain.baking import concluded, is_decided
from hotswap.domain.fleet import Scale, Shift
from hotswap.domain.policy import (
    Bake,
    Extend,
    Fail,
    GoTo,
    Hold,
    Promote,
    Requests,
    RollBack,
    Rollout,
    Wait,
    next_action,
)
from hotswap.domain.strategy import Rules, Step
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.verdict import Outcome, Verdict


class End(StrEnum):
    PASSED = "Passed"
    HELD = "Held"
    ROLLED_BACK = "RolledBack"
    FAILED = "Failed"
    NOT_KNOWN = "NotKnown"
    NOT_REACHED = "NotReached"


@dataclass(frozen=True, slots=True)
class Replayed:
    """The end of one bake under the policy; `after_seconds` since its weight was verified, None if it isn't known.

    `verdict` is the one that ended it, or that of the last observation; None if nothing was judged.
    """

    bake: BakeRecord
    end: End
    message: str
    after_seconds: float | None = None
    verdict: Verdict | None = None


def replay(
    bakes: Sequence[BakeRecord], *, policy: AnalysisPolicy, steps: Sequence[Step], rules: Rules, extends: bool = True
) -> tuple[Replayed, ...]:
    """Return the end of each recorded bake in order, with the evidence that it had from those before it.

    `extends` is whether bakes were extended in proportion by then.
    """
    replayed: list[Replayed] = []
    evidence: Mapping[str, float] = {}
    went_back = False
    for bake, following in pairwise([*bakes, None]):
        assert bake is not None
        if went_back:
            replayed.append(Replayed(bake, End.NOT_REACHED, "it had gone back before"))
            continue
        ended = _judged_again(bake, policy=policy, steps=steps, rules=rules, prior=evidence, extends=extends)
        replayed.append(ended)
        went_back = ended.end is End.ROLLED_BACK
        # A step that begins anew though nothing held it was left by a word, before its verdict counted.
        was_left = ended.end is End.PASSED and following is not None and following.step <= bake.step
        if ended.end in {End.PASSED, End.HELD} and ended.verdict is not None and not was_left:
            evidence = ended.verdict.evidence
    return tuple(replayed)


def conclusion(replayed: Sequence[Replayed]) -> tuple[End, str]:
    """Return where the deployment would have ended."""
    if not replayed:
        return End.NOT_KNOWN, "nothing was judged, so there is nothing to judge again"
    back = next((each for each in replayed if each.end is End.ROLLED_BACK), None)
    last = back or replayed[-1]
    where = f"step {last.bake.step + 1} at {last.bake.weight / 100:g}%"
    if last.end is End.PASSED and last.bake.weight != TOTAL_WEIGHT:
        return End.NOT_KNOWN, f"{where} passes; it went on from there and nothing was seen"
    return last.end, f"{where}: {last.message}"


def _judged_again(
    bake: BakeRecord,
    *,
    policy: AnalysisPolicy,
    steps: Sequence[Step],
    rules: Rules,
    prior: Mapping[str, float],
    extends: bool,
) -> Replayed:
    position = _position(bake, steps)
    if position is None:
        return Replayed(bake, End.NOT_KNOWN, f"the policy has no step at {bake.weight / 100:g}%")
    rollout = Rollout(tuple(steps), position, weight_verified_at=bake.begun_at, rules=rules)
    recording = _Recording(bake, steps[position], policy, prior_evidence=prior, extends=extends)
    held = ""
    while not recording.is_over:
        match next_action(rollout, Requests(), now=recording.now):
            case Bake(until):
                verdict = recording.watch(until)
                rollout = rollout.judged(verdict) if verdict is not None else rollout
            case Extend(until):
                rollout = rollout.extended(until=until)
            case Wait(until):
                recording.wait(until)
            case Hold(hold_reason, limit, held):
                rollout = rollout.held(hold_reason, at=recording.now)
                harm = recording.watch_for_harm(limit)
                rollout = rollout.judged(harm) if harm is not None else rollout
            case GoTo():
                said = f"passed after {recording.after:.1f} s"
                return Replayed(bake, End.PASSED, said, recording.after, rollout.verdict)
            case RollBack(reason, message):
                said = f"rolled back after {recording.after:.1f} s: {message} ({reason})"
                return Replayed(bake, End.ROLLED_BACK, said, recording.after, rollout.verdict)
            case Fail(reason, message):
                said = f"failed after {recording.after:.1f} s: {message} ({reason})"
                return Replayed(bake, End.FAILED, said, recording.after, rollout.verdict)
            case (Shift() | Scale() | Promote()) as never_here:
                raise AssertionError(f"its weight is set and its step is not done, so never {never_here}")
            case never:
                assert_never(never)
    if rollout.held_since is not None:
        after = rollout.held_since - bake.begun_at
        return Replayed(bake, End.HELD, f"held after {after:.1f} s: {held}", after, rollout.verdict)
    seen = f"{recording.after:.1f} s" if bake.observations else "the begin"
    unknown = f"not known: it goes on beyond {seen}, and nothing more was seen"
    return Replayed(bake, End.NOT_KNOWN, unknown, verdict=recording.verdict)


class _Recording:
    """One recorded bake in the place of time and of a watch: it goes on as far as its observations, and no further."""

    def __init__(
        self,
        bake: BakeRecord,
        step: Step,
        policy: AnalysisPolicy,
        *,
        prior_evidence: Mapping[str, float],
        extends: bool,
    ) -> None:
        self.now = bake.begun_at
        self.is_over = False
        """True if it would have to go on beyond what was observed."""
        self.verdict: Verdict | None = None
        """On all that was seen so far."""
        self._judging = StepJudging(policy, weight=bake.weight, reference=bake.reference, prior_evidence=prior_evidence)
        self._begun_at = bake.begun_at
        self._observations = iter(bake.observations)
        self._deadline = bake.begun_at + step.deadline_seconds
        self._promotes_early = policy.promote_early
        self._extends = extends
        if not step.judged:  # then it is known of by its observations alone
            self._next_verdict(bake.begun_at + step.bake_seconds)

    @property
    def after(self) -> float:
        """Seconds since the weight was verified."""
        return self.now - self._begun_at

    def watch(self, until: float) -> Verdict | None:
        """Answer the verdict of a bake that ends then, None where it goes on beyond what was seen."""
        while (verdict := self._next_verdict(until)) is not None:
            if is_decided(
                verdict,
                at=self.now,
                until=until,
                deadline=self._deadline,
                promotes_early=self._promotes_early,
                begun_at=self._begun_at if self._extends else None,
            ):
                return verdict
        return None

    def watch_for_harm(self, until: float | None) -> Verdict | None:
        """Answer what shows harm before then, None where nothing does; what is held is judged for nothing else."""
        while (verdict := self._next_verdict(math.inf)) is not None:
            if verdict.outcome is Outcome.HARM:
                return verdict
            if until is not None and self.now >= until:
                return None
        return None

    def wait(self, until: float) -> None:
        while self.now < until and self._next_verdict(until) is not None:
            pass

    def _next_verdict(self, until: float) -> Verdict | None:
        """Judge the next observation, in a bake that ends then; None where there is none."""
        observation = next(self._observations, None)
        if observation is None:
            self.is_over = True
            return None
        self.now = observation.at
        self._judging.add(observation)
        verdict = self._judging.verdict(is_over=observation.at >= until)
        if until < math.inf:
            verdict = concluded(verdict, at=observation.at, deadline=self._deadline if self._extends else math.inf)
        self.verdict = verdict
        return verdict


def _position(bake: BakeRecord, steps: Sequence[Step]) -> int | None:
    """Find the policy's step for what was baked: in its place if the weight is the same, else one of that weight."""
    places = [number for number, step in enumerate(steps) if step.weight == bake.weight]
    if bake.step in places:
        return bake.step
    return places[0] if places else None
