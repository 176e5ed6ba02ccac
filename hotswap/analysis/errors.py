"""The judge of errors: an absolute excess over the stable's rate, with the Beta mixture's evidence for it.

Callers that keep their arm count once each: the requests of one of them fall where the first one did, so they are no
independent draws. Counts are cumulative over the step; the evidence of earlier steps is added.
"""

import math

from scipy.special import betaincinv, betaln

from hotswap.analysis.evidence import log_evidence
from hotswap.analysis.figures import Setting, result
from hotswap.domain.analysis import Entities, Look, Metric
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import MetricResult, Outcome


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
        mine, theirs = _rate(candidate), _rate(stable)
        evidence = self._setting.prior + self._evidence(candidate, stable)
        needed = -math.log(self._setting.alpha)
        excess = mine - theirs
        numbers = {"candidate_rate": mine, "stable_rate": theirs, "excess": excess}
        told = (
            f"candidate {candidate.server_errors} of {candidate.completed} failed ({mine:.2%}), "
            f"stable {stable.server_errors} of {stable.completed} ({theirs:.2%}), "
            f"log-evidence {evidence:.1f} of {needed:.1f}"
        )
        # Requests that failed don't count: in an outage both arms fail alike, which says nothing of either.
        if evidence >= needed and excess > metric.threshold:
            outcome = Outcome.HARM
            told = f"error rate is {excess:.2%} above the stable's, over the threshold {metric.threshold:.2%}: {told}"
        elif min(candidate.good, stable.good) < metric.samples:
            outcome = Outcome.INSUFFICIENT_DATA
            told = f"fewer than {metric.samples} good answers from an arm: {told}"
        else:
            outcome = Outcome.PASS
        early = False
        if outcome is Outcome.PASS and self._setting.early:
            highest = numbers["excess_upper"] = excess_at_most(candidate, stable, alpha=self._setting.alpha)
            early = highest < metric.threshold
        return result(metric, outcome, told, numbers=numbers, evidence=evidence, early=early)

    def _evidence(self, candidate: Counts, stable: Counts) -> float:
        if (share := self._setting.share) is not None:
            hits, misses = candidate.server_errors, stable.server_errors
            if (callers := self._entities) is not None and candidate.sticky + stable.sticky:
                hits += callers.candidate_failed - candidate.sticky_errors
                misses += callers.stable_failed - stable.sticky_errors
            return float(log_evidence(hits, misses, share=share))
        if self._setting.reference is None or stable.completed == 0:
            return 0.0
        # The rate that the stable surely didn't exceed (Clopper-Pearson), so that its own luck isn't held against the
        # candidate.
        failed, alpha = stable.server_errors, self._setting.alpha
        worst = float(betaincinv(failed + 1, max(stable.completed - failed, 0), 1 - alpha))
        if not 0 < worst < 1:
            return 0.0
        return float(log_evidence(candidate.server_errors, candidate.good, share=worst))


def excess_at_most(candidate: Counts, stable: Counts, *, alpha: float) -> float:
    """What the candidate's rate is above the stable's at most, at all times with probability 1 - alpha."""
    _, upper = rate_within(candidate.server_errors, candidate.good, alpha=alpha / 2)
    lower, _ = rate_within(stable.server_errors, stable.good, alpha=alpha / 2)
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


def _rate(counts: Counts) -> float:
    return counts.server_errors / counts.completed if counts.completed else 0.0
