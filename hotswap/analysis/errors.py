"""The judge of errors: an absolute excess over the stable's rate, with the Beta mixture's evidence for it.

Callers that keep their arm count once each: the requests of one of them fall where the first one did, so they are no
independent draws. Counts are cumulative over the step; the evidence of earlier steps is added.
"""

import math
from dataclasses import dataclass

from scipy.special import betaincinv, betaln

from hotswap.analysis.evidence import log_evidence
from hotswap.analysis.figures import Setting, result
from hotswap.domain.analysis import Entities, Look, Metric
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import MetricResult, Outcome


@dataclass(frozen=True, slots=True)
class Draws:
    """What doesn't depend on each other: requests, and callers that keep their arm; and how many of them failed."""

    failed: int
    number: int

    @property
    def good(self) -> int:
        return max(self.number - self.failed, 0)

    @property
    def rate(self) -> float:
        return self.failed / self.number if self.number else 0.0


class ErrorsJudge:
    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._look: Look | None = None
        self._entities: Entities | None = None

    def add(self, look: Look) -> None:
        self._look = look
        self._entities = look.entities or self._entities

    def result(self, *, is_over: bool) -> MetricResult:
        assert self._look is not None
        metric, candidate, stable = self._metric, self._look.candidate, self._setting.stable(self._look)
        mine, theirs = self._draws(candidate, stable)
        evidence = self._setting.prior + self._evidence(mine, theirs)
        needed = -math.log(self._setting.alpha)
        excess = mine.rate - theirs.rate
        numbers = {"candidate_rate": mine.rate, "stable_rate": theirs.rate, "excess": excess}
        told = (
            f"candidate {mine.failed} of {mine.number} failed ({mine.rate:.2%}), "
            f"stable {theirs.failed} of {theirs.number} ({theirs.rate:.2%}), "
            f"log-evidence {evidence:.1f} of {needed:.1f}"
        )
        # Requests that failed don't count: in an outage both arms fail alike, which says nothing of either.
        if evidence >= needed and excess > metric.threshold:
            outcome = Outcome.HARM
            told = f"error rate is {excess:.2%} above the stable's, over the threshold {metric.threshold:.2%}: {told}"
        elif min(candidate.good, stable.good) < metric.samples:
            outcome = Outcome.INSUFFICIENT_DATA
            told = f"fewer than {metric.samples} good answers from an arm: {told}"
        elif excess > metric.threshold:
            outcome = Outcome.INCONCLUSIVE
            told = f"error rate is {excess:.2%} above the stable's, which may yet be chance: {told}"
        else:
            outcome = Outcome.PASS
        early = False
        if outcome is Outcome.PASS and self._setting.early:
            highest = numbers["excess_upper"] = excess_at_most(mine, theirs, alpha=self._setting.alpha)
            early = highest < metric.threshold
        return result(metric, outcome, told, numbers=numbers, evidence=evidence, early=early)

    def _draws(self, candidate: Counts, stable: Counts) -> tuple[Draws, Draws]:
        """Of both arms, the callers of a sticky one in their requests' place as soon as they are counted."""
        callers = self._entities if self._setting.share is not None and candidate.sticky + stable.sticky else None
        if callers is None:
            return _draws(candidate), _draws(stable)
        return (
            _draws(candidate, callers=callers.candidate, failed=callers.candidate_failed),
            _draws(stable, callers=callers.stable, failed=callers.stable_failed),
        )

    def _evidence(self, candidate: Draws, stable: Draws) -> float:
        if (share := self._setting.share) is not None:
            return float(log_evidence(candidate.failed, stable.failed, share=share))
        if self._setting.reference is None or stable.number == 0:
            return 0.0
        # The rate that the stable surely didn't exceed (Clopper-Pearson), so that its own luck isn't held against the
        # candidate.
        worst = float(betaincinv(stable.failed + 1, stable.good, 1 - self._setting.alpha))
        if not 0 < worst < 1:
            return 0.0
        return float(log_evidence(candidate.failed, candidate.good, share=worst))


def _draws(counts: Counts, *, callers: int | None = None, failed: int = 0) -> Draws:
    if callers is None:
        return Draws(counts.server_errors, counts.completed)
    return Draws(counts.server_errors - counts.sticky_errors + failed, counts.completed - counts.sticky + callers)


def excess_at_most(candidate: Draws, stable: Draws, *, alpha: float) -> float:
    """What the candidate's rate is above the stable's at most, at all times with probability 1 - alpha."""
    _, upper = rate_within(candidate.failed, candidate.good, alpha=alpha / 2)
    lower, _ = rate_within(stable.failed, stable.good, alpha=alpha / 2)
    return upper - lower


def rate_within(hits: int, misses: int, *, alpha: float) -> tuple[float, float]:
    """A rate's bounds at all times: where the Beta mixture's likelihood ratio stays below 1/alpha (Robbins)."""
    from scipy.optimize import brentq  # It takes 0.3 s to import, which a restarted worker has not to spare.

    if hits + misses == 0:
        return 0.0, 1.0
    mixed = betaln(0.5 + hits, 0.5 + misses) - betaln(0.5, 0.5) + math.log(alpha)

    def contradicted(rate: float) -> float:
        return float(mixed - hits * math.log(rate) - misses * math.log1p(-rate))

    least, most = 1e-12, 1 - 1e-12
    seen = min(max(hits / (hits + misses), least), most)
    lower = brentq(contradicted, least, seen) if hits and contradicted(least) > 0 else 0.0
    upper = brentq(contradicted, seen, most) if misses and contradicted(most) > 0 else 1.0
    return float(lower), float(upper)
