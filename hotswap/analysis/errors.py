"""The judge of errors and of refusals: an absolute excess over the stable's rate, with the Beta mixture's evidence.

Callers that keep their arm count once each: the requests of one of them fall where the first one did, so they are no
independent draws. Until they are counted, their requests are no evidence; a failure of theirs that no record tells of
keeps the candidate from a pass, since nobody knows how many callers met it.

Pairs are requests that the stable was asked in the candidate's place (`hotswap/domain/traffic.py`). What the candidate
refuses and the stable answers is the candidate's doing, so a few of them tell; what both refuse counts for nothing.
What both fail counts, since an outage may have come in between, unless the stable has failed all of it.
Counts are cumulative over the step; the evidence of earlier steps is added, but where there are callers that keep their
arm: who came to the candidate in one step is there in the next one too, and would count again in each.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from scipy.special import betainc

from hotswap.analysis.draws import ArmDraws, Draws, candidate_arm, excess_at_most, rate_within, stable_arm
from hotswap.analysis.evidence import log_evidence, log_mean
from hotswap.analysis.figures import OF_ANOTHER_TIME, Outlook, Setting, result
from hotswap.domain.analysis import RESCUES, Entities, Metric, Observation, Source
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import MetricResult, Outcome

COINCIDENCE = 0.25**RESCUES
"""The probability that a caller is rescued so often, and never answered well, if the versions don't differ. A request
that an arm fails with probability q is failed by the candidate and answered by the stable with probability q(1 - q),
which is a quarter at most.
"""
ODDITY = 1e-3
"""The share of requests that two versions that don't differ may answer differently: what is refused once and not the
next time is rare, but there are models that change while they are asked."""

OF_BOUND = 0.1
"""The part of the error probability that the bound on the candidate's own rate spends, where the pairs are judged by
it; the bet has the rest."""

OF_DEADLINE = 0.25
"""The part of the metric's error probability that a step may spend at its deadline, where it is judged once: a
rollout has some four steps."""


class ErrorsJudge:
    """Judges 5xx where the metric's source is errors, 4xx where it is refusals."""

    KEPT: ClassVar[Mapping[str, Any]] = {"_look": Observation | None, "_begun_at": float, "_entities": Entities | None}

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._is_refusals = metric.source is Source.REFUSALS
        self._verb = "refused" if self._is_refusals else "failed"
        self._rate = "refusal rate" if self._is_refusals else "error rate"
        self._look: Observation | None = None
        self._begun_at = 0.0
        self._entities: Entities | None = None

    def add(self, observation: Observation) -> None:
        self._begun_at = observation.at if self._look is None else self._begun_at
        self._look = observation
        self._entities = observation.entities or self._entities

    def result(self, *, is_over: bool) -> MetricResult:
        assert self._look is not None
        metric, candidate, stable = self._metric, self._look.candidate, self._setting.stable(self._look)
        arm = candidate_arm(candidate, self._entities, metric.source)
        other = stable_arm(stable, self._entities, metric.source)
        is_beside = self._setting.share is not None
        seen, theirs = (arm.draws, other.draws) if is_beside else (arm.requests, other.requests)
        is_shared = not self._is_refusals and are_all_shared(candidate)
        mine = Draws(0, seen.number) if is_shared else seen
        rescued = self._rescued(candidate, mine)
        # Callers were at the candidate in the steps before as well, so theirs is this step's evidence alone.
        prior = 0.0 if is_beside and (arm.sticky.number or other.sticky.number) else self._setting.prior
        evidence = prior + self._evidence(mine, theirs, rescued)
        needed = -math.log(self._setting.alpha)
        apart = mine.rate - theirs.rate
        excess = max(apart, rescued) if is_beside else rescued
        # What the stable failed of so few pairs is a matter of luck: without evidence it holds nobody up by itself.
        doubtful = excess if is_beside else min(apart, rescued)
        numbers = {"candidate_rate": mine.rate, "stable_rate": theirs.rate, "excess": max(apart, rescued)}
        too = ", and the stable failed them as well when it was asked in its place" if is_shared else ""
        told = (
            f"candidate {seen.failed} of {seen.number} {self._verb} ({seen.rate:.2%}){too}, "
            f"stable {theirs.failed} of {theirs.number} ({theirs.rate:.2%}), "
            f"log-evidence {evidence:.1f} of {needed:.1f}"
        )
        above = f"{self._rate} is {max(apart, rescued):.2%} above the stable's"
        untold = arm.untold - other.untold
        of_another_time = is_chance = False
        # Requests that failed don't count: in an outage both arms fail alike, which says nothing of either.
        if evidence >= needed and excess > metric.threshold:
            outcome, told = Outcome.HARM, f"{above}, over the threshold {metric.threshold:.2%}: {told}"
            if few := self._few_callers(arm):
                outcome, told = Outcome.INCONCLUSIVE, f"{few}: {told}"
        elif not self._is_refusals and stable_is_down(candidate, stable, metric.samples, alpha=self._setting.alpha):
            outcome, told = Outcome.PASS, f"the stable itself is down, and the candidate is evidently better: {told}"
        elif min(candidate.good, stable.good) < metric.samples:
            outcome = Outcome.INSUFFICIENT_DATA
            told = f"fewer than {metric.samples} good answers from an arm: {told}"
        elif doubtful > metric.threshold:
            seconds = self._look.at - self._begun_at
            outlook = Outlook(evidence, prior, needed, candidate.completed, seconds)
            numbers |= outlook.numbers
            outcome, of_another_time = Outcome.INCONCLUSIVE, not is_beside
            is_chance = max(rescued, untold) <= metric.threshold and self._is_chance(mine, theirs)
            may_be = "which is no more than chance does" if is_chance else "which may yet be chance"
            told = f"{above}, {may_be}; {outlook.told}: {told}"
        elif not is_beside and apart > metric.threshold:
            outcome, of_another_time = Outcome.INCONCLUSIVE, True
            told = f"{above}, {OF_ANOTHER_TIME}: {told}"
        elif is_beside and not is_shared and untold > metric.threshold:
            outcome = Outcome.INCONCLUSIVE
            told = (
                f"{untold:.2%} more requests of callers that keep their arm {self._verb} at the candidate, and no "
                f"record says whose, so nobody knows how many callers it is: {told}"
            )
        else:
            outcome = Outcome.PASS
        early = False
        if outcome is Outcome.PASS and self._setting.early:
            highest = numbers["excess_upper"] = excess_at_most(mine, theirs, alpha=self._setting.alpha)
            early = highest < metric.threshold
        return result(
            metric,
            outcome,
            told,
            numbers=numbers,
            evidence=evidence,
            early=early,
            of_another_time=of_another_time,
            is_chance=is_chance,
        )

    def _is_chance(self, mine: Draws, theirs: Draws) -> bool:
        """Return whether equal versions have such an excess, where a plainly worse one would stand out by now.

        Where the stable itself fails a part of all requests and a step has few of them, a candidate's excess is over
        the threshold by chance, however good it is. That counts once, at the step's deadline, so the test is the exact
        binomial one: of all failures, so many fell on the candidate where each did so by its share. It says something
        only where it has power: with twice the rate of both, or three thresholds more, it would say otherwise.
        """
        share, alpha = self._setting.share, self._setting.alpha * OF_DEADLINE
        if share is None:
            return False
        rate = (mine.failed + theirs.failed) / (mine.number + theirs.number)
        worse = mine.number * max(2 * rate, rate + 3 * self._metric.threshold)
        return (
            _as_many_by_chance(mine.failed, theirs.failed, share=share) >= alpha
            and _as_many_by_chance(worse, theirs.number * rate, share=share) < alpha
        )

    def _few_callers(self, arm: ArmDraws) -> str | None:
        """Return why there is no harm although there is evidence: it rests on too few callers."""
        hit, least = arm.draws, self._setting.minimum_callers
        if not arm.sticky.number or hit.suffice(least):
            return None
        return (
            f"{hit.failed} of {hit.number} known callers {self._verb} at the candidate, and harm needs at least "
            f"{least} callers (`minimumCallers`), more than one of them hit"
        )

    def _evidence(self, mine: Draws, theirs: Draws, rescued: float) -> float:
        """Return the mean of two bets: on failures that fall on the candidate beyond its share, and on the pairs."""
        assert self._look is not None
        found: list[float] = []
        if (share := self._setting.share) is not None:
            found.append(float(log_evidence(mine.failed, theirs.failed, share=share)))
        counts, seen = self._look.candidate, self._entities
        if self._is_refusals:
            if counts.refused:
                hits = round(rescued * mine.number)
                found.append(float(log_evidence(hits, max(mine.number - hits, 0), share=ODDITY)))
        elif self._setting.share is None:
            if counts.rescued_errors:
                found.append(_worse_than_its_stand_in(counts, self._metric.threshold, alpha=self._setting.alpha))
        elif seen is not None and seen.candidate_rescued:
            rest = max(seen.candidate - seen.candidate_rescued, 0)
            found.append(float(log_evidence(seen.candidate_rescued, rest, share=COINCIDENCE)))
        return log_mean(found)

    def _rescued(self, counts: Counts, mine: Draws) -> float:
        """Return how far the candidate's rate is above the stable's for the same requests."""
        if self._is_refusals:
            # Of callers each is one draw, and those whom both arms refuse are none.
            hits = min(counts.rescued_refusals, mine.failed)
            return hits / mine.number if mine.number else 0.0
        if self._setting.share is not None or not counts.rescued_errors:
            return 0.0
        return counts.server_errors / counts.completed - (1 - counts.rescued_errors / counts.server_errors)


def _as_many_by_chance(mine: float, theirs: float, *, share: float) -> float:
    """Return how likely as many failures, or more, fall on the candidate by its share of the traffic."""
    return float(betainc(mine, theirs + 1, share)) if mine > 0 else 1.0


def _worse_than_its_stand_in(counts: Counts, threshold: float, *, alpha: float) -> float:
    """Return the evidence that the candidate fails more often than the stable, asked what the candidate failed.

    If no request is failed by the candidate with a greater probability than by the stable, then the stable fails what
    the candidate failed at least as often as the candidate fails altogether (Cauchy and Schwarz): so the least that the
    candidate's rate is, less the threshold, bounds it. It holds for any callers and at any time, since both were asked
    the same at the same time. The bound may be wrong as well, so what it spends of `alpha` is taken from the bet.
    """
    spent = alpha * OF_BOUND
    least, _ = rate_within(counts.server_errors, counts.completed - counts.server_errors, alpha=spent)
    if least <= threshold:
        return 0.0
    others = max(counts.server_errors - counts.rescued_errors, 0)
    bet = float(log_evidence(counts.rescued_errors, others, share=1 - (least - threshold)))
    return bet + math.log1p(-OF_BOUND)


def are_all_shared(candidate: Counts) -> bool:
    """Return whether the stable, asked in its place, failed every request that the candidate failed.

    Then no version could answer them, or none could at that time: nothing in it speaks against the candidate.
    """
    asked_again = candidate.fell_back - candidate.refused
    return candidate.server_errors > 0 == candidate.rescued_errors and asked_again >= candidate.server_errors


def stable_is_down(candidate: Counts, stable: Counts, samples: int, *, alpha: float) -> bool:
    """Return whether the stable fails too much for a comparison, while the candidate evidently answers.

    Then there is nothing to lose by going on, and a rollout that waits for the stable's good answers would wait for
    ever.
    """
    if candidate.good < samples or stable.good >= samples or stable.completed < samples:
        return False
    _, mine = rate_within(candidate.server_errors, candidate.completed - candidate.server_errors, alpha=alpha / 2)
    theirs, _ = rate_within(stable.server_errors, stable.completed - stable.server_errors, alpha=alpha / 2)
    return mine < theirs
