"""Judges a past deployment again, from its recorded looks, under a policy that may be another.

Nothing is invented: a bake that the policy would have gone on with beyond what was seen ends as not known, and so does
a weight that it has no step for. What people said is taken as they said it, since nobody knows what they had said
otherwise: a rollout that was held, and was seen again, went on. Under the policy that it ran by, it comes to the
recorded verdicts. Pure.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, BakeRecord
from hotswap.domain.baking import concluded, is_decided
from hotswap.domain.policy import Extend, Fail, GoTo, Hold, Requests, RollBack, Rollout, next_action
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
    """How one bake ends under the policy; `after_seconds` since its weight was verified, None where it isn't known.

    `verdict` is the one that it ended by, or of the last look; None where nothing was judged.
    """

    bake: BakeRecord
    end: End
    message: str
    after_seconds: float | None = None
    verdict: Verdict | None = None


def replay(
    bakes: Sequence[BakeRecord], *, policy: AnalysisPolicy, steps: Sequence[Step], rules: Rules, extends: bool = True
) -> tuple[Replayed, ...]:
    """Each recorded bake in order, with the evidence that it had from those before it.

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
    """Where the deployment would have ended."""
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
    step = steps[position]
    judging = StepJudging(policy, weight=bake.weight, reference=bake.reference, prior_evidence=prior)
    until, deadline = bake.begun_at + step.bake_seconds, bake.begun_at + step.deadline_seconds
    rollout = Rollout(tuple(steps), position, weight_verified_at=bake.begun_at, rules=rules)
    verdict: Verdict | None = None
    held = ""
    for look in bake.looks:
        judging.add(look)
        verdict = judging.verdict(is_over=rollout.hold is None and look.at >= until)
        if rollout.hold is None:
            verdict = concluded(verdict, at=look.at, deadline=deadline if extends else math.inf)
            if step.judged and not is_decided(
                verdict,
                at=look.at,
                until=until,
                deadline=deadline,
                promotes_early=policy.promote_early,
                begun_at=bake.begun_at if extends else None,
            ):
                continue
            rollout = rollout.judged(verdict) if step.judged else rollout
        elif verdict.outcome is Outcome.HARM:
            rollout = rollout.judged(verdict)  # what is held is watched for harm only
        after = look.at - bake.begun_at
        match next_action(rollout, Requests(), now=look.at):
            case Extend(later, _):
                rollout, until = rollout.extended(until=later), later
            case Hold(why, _, message):
                rollout, held = rollout.held(why, at=look.at), message
            case RollBack(reason, message):
                said = f"rolled back after {after:.1f} s: {message} ({reason})"
                return Replayed(bake, End.ROLLED_BACK, said, after, rollout.verdict)
            case Fail(reason, message):
                said = f"failed after {after:.1f} s: {message} ({reason})"
                return Replayed(bake, End.FAILED, said, after, rollout.verdict)
            case GoTo():
                return Replayed(bake, End.PASSED, f"passed after {after:.1f} s", after, rollout.verdict)
            case _:  # an unjudged step waits for its end
                continue
    if rollout.held_since is not None:
        after = rollout.held_since - bake.begun_at
        return Replayed(bake, End.HELD, f"held after {after:.1f} s: {held}", after, rollout.verdict)
    seen = f"{bake.looks[-1].at - bake.begun_at:.1f} s" if bake.looks else "the begin"
    unknown = f"not known: it goes on beyond {seen}, and nothing more was seen"
    return Replayed(bake, End.NOT_KNOWN, unknown, verdict=verdict)


def _position(bake: BakeRecord, steps: Sequence[Step]) -> int | None:
    """The policy's step for what was baked: the one in its place if the weight is the same, else one of that weight."""
    places = [number for number, step in enumerate(steps) if step.weight == bake.weight]
    if bake.step in places:
        return bake.step
    return places[0] if places else None
