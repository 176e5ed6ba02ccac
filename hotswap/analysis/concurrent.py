"""The judge of latency at 100%: by what both arms did with the same requests over the same time.

The stable's earlier figures are of another time, so what exceeds them is asked of the concurrent reference
(`hotswap/domain/concurrent.py`) by the rule and the evidence of every other step. Where the stable is as slow now, the
world is slow and not the version. Its replicas are idle, though, and the candidate's have all the traffic: an answer
that waits for its turn is no version's doing. So harm needs the same of the time that the model itself took, and what
shows in one of both is held for a person. So is everything that there is no reference for.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from hotswap.analysis.figures import OF_ANOTHER_TIME, Outlook, Setting, result, too_few
from hotswap.analysis.lumps import Lumps
from hotswap.analysis.quantiles import limit_ms, named, quantiles
from hotswap.domain.analysis import Metric, Observation
from hotswap.domain.concurrent import Concurrent
from hotswap.domain.traffic import quantile_of
from hotswap.domain.verdict import MetricResult, Outcome

NOTHING_YET = "nothing was asked of both yet"


class ConcurrentJudge:
    """Judges one quantile where all traffic is the candidate's; `Setting.reference` is what the stable did before."""

    KEPT: ClassVar[Mapping[str, Any]] = {
        "_answers": Lumps,
        "_models": Lumps,
        "_look": Observation | None,
        "_seen": Concurrent,
        "_begun_at": float,
    }

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._answers, self._models = Lumps(), Lumps()
        self._look: Observation | None = None
        self._seen = Concurrent()
        self._begun_at = 0.0

    def add(self, observation: Observation) -> None:
        self._look = observation
        if observation.concurrent is None:
            return
        self._begun_at = self._begun_at or observation.at
        self._seen = observation.concurrent
        self._answers.add(self._seen.candidate.latency, self._seen.stable.latency)
        self._models.add(self._seen.candidate_model, self._seen.stable_model)

    def result(self, *, is_over: bool) -> MetricResult:
        assert self._look is not None
        metric, candidate, stable = self._metric, self._look.candidate, self._setting.stable(self._look)
        evidence = self._setting.prior + min(self._answers.log_evidence, self._models.log_evidence)
        mine = candidate.latency_quantile_ms(metric.quantile)
        if mine is None or candidate.good < metric.samples:
            lacking = f"fewer than {metric.samples} good answers from the candidate"
            return result(metric, Outcome.INSUFFICIENT_DATA, lacking, evidence=evidence)
        known = stable.latency if stable.good >= metric.samples else {}
        before = quantiles(metric, candidate.latency, known, alpha=self._setting.alpha)
        numbers, told = {"candidate_ms": mine}, named(metric, mine)
        if before is not None:
            numbers = before.numbers
            if not before.is_slower:
                early = before.is_shown_fast
                return result(metric, Outcome.PASS, before.told, numbers=numbers, evidence=evidence, early=early)
            told = f"{before.told}, {OF_ANOTHER_TIME}"
        outcome, found, more = self._concurrently(evidence)
        if outcome is Outcome.INSUFFICIENT_DATA and before is not None:
            outcome = Outcome.INCONCLUSIVE  # there is an excess, so it isn't for want of data that it can't pass
        return result(
            metric,
            outcome,
            f"{told}; {found}",
            numbers=numbers | more,
            evidence=evidence,
            of_another_time=outcome is Outcome.INCONCLUSIVE,
        )

    def _concurrently(self, evidence: float) -> tuple[Outcome, str, dict[str, float]]:
        """Return what the reference says, in words and in numbers."""
        metric, seen = self._metric, self._seen
        both = self._quantiles(seen.candidate.latency, seen.stable.latency)
        if both is None:
            answered = sum(seen.candidate.latency.values())
            reason = seen.reason or (NOTHING_YET if not seen.asked else "")
            detail = f": {reason}" if reason else ""
            lacking = (
                f"there is no reference of the same time, of {answered} requests that both were asked again and have "
                f"answered, where {metric.samples} are needed{detail}"
            )
            return Outcome.INSUFFICIENT_DATA, lacking, {}
        mine, theirs = both
        numbers = {
            "concurrent_candidate_ms": mine,
            "concurrent_stable_ms": theirs,
            "concurrent_asked": float(seen.asked),
        }
        told = f"of {seen.asked} requests put to both over the same time it is {mine:.1f} ms against {theirs:.1f} ms"
        if mine <= limit_ms(metric, theirs):
            return Outcome.PASS, f"{told}, so the candidate is no slower than the stable is now", numbers
        models = self._quantiles(seen.candidate_model, seen.stable_model)
        if models is None:
            return Outcome.INCONCLUSIVE, f"{told}, and how long the models themselves took is not known", numbers
        numbers |= {"concurrent_candidate_model_ms": models[0], "concurrent_stable_model_ms": models[1]}
        told = f"{told}, the models themselves {models[0]:.1f} ms against {models[1]:.1f} ms"
        if models[0] <= limit_ms(metric, models[1]):
            waiting = "so it is the load, which only the candidate has, and not the version"
            return Outcome.INCONCLUSIVE, f"{told}, {waiting}", numbers
        needed = -math.log(self._setting.alpha)
        told = f"{told}, log-evidence {evidence:.1f} of {needed:.1f}"
        if evidence < needed:
            assert self._look is not None
            seconds = self._look.at - self._begun_at
            outlook = Outlook(evidence, self._setting.prior, needed, seen.asked, seconds)
            return Outcome.INCONCLUSIVE, f"{told}; {outlook.told}", numbers | outlook.numbers
        if (few := too_few(seen.callers, self._setting)) is not None:
            return Outcome.INCONCLUSIVE, f"{few}: {told}", numbers
        return Outcome.HARM, told, numbers

    def _quantiles(self, candidate: Mapping[str, int], stable: Mapping[str, int]) -> tuple[float, float] | None:
        """Return the quantiles of requests that both have answered; None where they are too few."""
        if min(sum(candidate.values()), sum(stable.values())) < self._metric.samples:
            return None
        mine, theirs = (quantile_of(latency, self._metric.quantile) for latency in (candidate, stable))
        return (mine, theirs) if mine is not None and theirs is not None else None
