"""The judge of latency: a quantile over its threshold, with evidence by lumps that the candidate is slower.

The evidence (`betting.py`) is on the share of answers slower than a bound, which is whichever of a grid set the arms
apart before. It holds for any distribution and for load that both arms feel. The intervals of both quantiles are
Howard and Ramdas' (Bernoulli 2022, arXiv 1906.09712), for answers that don't depend on each other: they are shown, and
decide only what may be promoted early.
"""

import math
from functools import lru_cache

import numpy as np

from hotswap.analysis.betting import Betting, Floats
from hotswap.analysis.figures import Setting, quantile_ms, result
from hotswap.domain.analysis import Look, Metric
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import MetricResult, Outcome

BOUNDS = 100.0 * 2.0 ** (np.arange(60) / 3)
"""In microseconds, from 0.1 ms to 1.5 minutes, each a quarter above the one before."""


class QuantileJudge:
    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        ceiling = None if setting.reference is None else _ceiling(setting.reference, setting.alpha)
        self._betting = Betting(len(BOUNDS), ceiling=ceiling)
        self._folded = np.zeros((2, len(BOUNDS) + 1))
        self._look: Look | None = None

    def add(self, look: Look) -> None:
        self._look = look
        slower = np.stack([slower_than(look.candidate), slower_than(look.stable)])
        new = slower - self._folded
        self._folded = slower
        self._betting.add(new[:, 1:], new[:, 0])

    def result(self, *, is_over: bool) -> MetricResult:
        assert self._look is not None
        metric, candidate, stable = self._metric, self._look.candidate, self._setting.stable(self._look)
        evidence = self._setting.prior + float(self._betting.log_evidence)
        mine, theirs = quantile_ms(candidate, metric.quantile), quantile_ms(stable, metric.quantile)
        if mine is None or theirs is None or min(candidate.good, stable.good) < metric.samples:
            lacking = f"fewer than {metric.samples} good answers from an arm"
            return result(metric, Outcome.INSUFFICIENT_DATA, lacking, evidence=evidence)
        numbers = {"candidate_ms": mine, "stable_ms": theirs, "ratio": mine / theirs}
        for arm, counts in (("candidate", candidate), ("stable", stable)):
            numbers |= _interval(arm, counts, metric.quantile, self._setting.alpha)
        needed = -math.log(self._setting.alpha)
        told = (
            f"latency p{metric.quantile * 100:g} {mine:.1f} ms is {mine / theirs:.2f} times the stable's "
            f"{theirs:.1f} ms, threshold {metric.threshold:g} and {metric.floor_ms:g} ms more, "
            f"log-evidence {evidence:.1f} of {needed:.1f}"
        )
        if mine > _limit(metric, theirs):
            outcome = Outcome.HARM if evidence >= needed else Outcome.INCONCLUSIVE
            return result(metric, outcome, told, numbers=numbers, evidence=evidence)
        upper, lower = numbers.get("candidate_upper_ms"), numbers.get("stable_lower_ms")
        early = upper is not None and lower is not None and upper < _limit(metric, lower)
        return result(metric, Outcome.PASS, told, numbers=numbers, evidence=evidence, early=early)


def _limit(metric: Metric, stable_ms: float) -> float:
    return max(metric.threshold * stable_ms, stable_ms + metric.floor_ms)


def slower_than(counts: Counts) -> Floats:
    """All answers, and then those slower than each of `BOUNDS`."""
    histogram = np.zeros(len(BOUNDS) + 1)
    for bound, count in counts.latency.items():
        histogram[_index(bound)] += count
    return histogram[::-1].cumsum()[::-1]


@lru_cache(maxsize=4096)
def _index(bound: str) -> int:
    return int(np.searchsorted(BOUNDS, float(bound)))


def _ceiling(reference: Counts, alpha: float) -> Floats:
    """The shares of slow answers that the stable surely didn't exceed (Dvoretzky, Kiefer, Wolfowitz; Massart)."""
    slower = slower_than(reference)
    if slower[0] == 0:
        return np.ones(len(BOUNDS))
    slack = math.sqrt(-math.log(alpha / 10) / (2 * float(slower[0])))
    return np.asarray(np.minimum(slower[1:] / slower[0] + slack, 1.0))


def _interval(arm: str, counts: Counts, quantile: float, alpha: float) -> dict[str, float]:
    """Where the quantile lies at all times, with probability 1 - alpha; an end that isn't known yet is left out."""
    answers = sum(counts.latency.values())
    if answers < 2:
        return {}
    spent = (1.4 * math.log(math.log(2.1 * answers)) + math.log(10 / alpha)) / answers
    margin = 1.5 * math.sqrt(quantile * (1 - quantile) * spent) + 0.8 * spent
    ends = {"lower": quantile - margin, "upper": quantile + margin}
    return {
        f"{arm}_{end}_ms": value
        for end, at in ends.items()
        if 0 < at < 1 and (value := quantile_ms(counts, at)) is not None
    }
