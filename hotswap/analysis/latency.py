"""The judge of latency: a quantile over its threshold, with evidence by lumps that the candidate is slower.

The evidence (`betting.py`) is on the share of answers slower than a bound, which is whichever of a grid set the arms
apart before. It holds for any distribution and for load that both arms feel, but not for callers that keep their arm:
one who asks for much that takes long makes an arm slow in every lump. Where there are such callers, each counts once,
by the census, and harm needs both: evidence that it lasts, and evidence that slow answers fall on the candidate's
callers more often than its share. Then the quantiles are of the callers too, by the time in the replica.

The intervals of both quantiles are Howard and Ramdas' (Bernoulli 2022, arXiv 1906.09712), for answers that don't depend
on each other: they are shown, and decide only what may be promoted early.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.betting import Betting, Floats
from hotswap.analysis.evidence import log_evidence, log_mean
from hotswap.analysis.figures import OF_ANOTHER_TIME, Outlook, Setting, held_at_full, result, too_few
from hotswap.domain.analysis import Entities, Look, Metric
from hotswap.domain.traffic import quantile_of
from hotswap.domain.verdict import MetricResult, Outcome

BOUNDS = 100.0 * 2.0 ** (np.arange(60) / 3)
"""In microseconds, from 0.1 ms to 1.5 minutes, each a quarter above the one before."""


class QuantileJudge:
    KEPT: ClassVar[Mapping[str, Any]] = {
        "_betting": Betting,
        "_folded": np.ndarray,
        "_look": Look | None,
        "_begun_at": float,
        "_entities": Entities | None,
    }

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._betting = Betting(len(BOUNDS))
        self._folded = np.zeros((2, len(BOUNDS) + 1))
        self._look: Look | None = None
        self._begun_at = 0.0
        self._entities: Entities | None = None

    def add(self, look: Look) -> None:
        self._begun_at = look.at if self._look is None else self._begun_at
        self._look = look
        self._entities = look.entities or self._entities
        slower = np.stack([slower_than(look.candidate.latency), slower_than(look.stable.latency)])
        new = slower - self._folded
        self._folded = slower
        if self._setting.share is not None and (new >= 0).all():  # what shrank was counted by somebody else
            self._betting.add(new[:, 1:], new[:, 0])

    def result(self, *, is_over: bool) -> MetricResult:
        assert self._look is not None
        metric, candidate, stable = self._metric, self._look.candidate, self._setting.stable(self._look)
        callers = self._by_callers()
        arms = callers or (candidate.latency, stable.latency)
        lasting = float(self._betting.log_evidence)
        evidence = self._setting.prior + (lasting if callers is None else min(lasting, self._evidence(*callers)))
        mine, theirs = (quantile_of(latency, metric.quantile) for latency in arms)
        if mine is None or theirs is None or min(candidate.good, stable.good) < metric.samples:
            lacking = f"fewer than {metric.samples} good answers from an arm"
            return result(metric, Outcome.INSUFFICIENT_DATA, lacking, evidence=evidence)
        numbers = {"candidate_ms": mine, "stable_ms": theirs, "ratio": mine / theirs}
        for arm, latency in zip(("candidate", "stable"), arms, strict=True):
            numbers |= _interval(arm, latency, metric.quantile, self._setting.alpha)
        needed = -math.log(self._setting.alpha)
        told = (
            f"latency p{metric.quantile * 100:g} {mine:.1f} ms is {mine / theirs:.2f} times the stable's "
            f"{theirs:.1f} ms, threshold {metric.threshold:g} and {metric.floor_ms:g} ms more, "
            f"log-evidence {evidence:.1f} of {needed:.1f}"
        )
        if mine <= _limit(metric, theirs):
            upper, lower = numbers.get("candidate_upper_ms"), numbers.get("stable_lower_ms")
            early = upper is not None and lower is not None and upper < _limit(metric, lower)
            return result(metric, Outcome.PASS, told, numbers=numbers, evidence=evidence, early=early)
        outcome = Outcome.INCONCLUSIVE
        if self._setting.share is None:
            told = f"{told}, {OF_ANOTHER_TIME}"
            metric = replace(metric, on_no_verdict=held_at_full(metric))
        elif callers is None and self._are_sticky:
            told = f"{told}; callers that keep their arm are not counted yet, and before that nothing is harm"
        elif evidence >= needed:
            known = sum(callers[0].values()) if callers is not None else None
            few = too_few(known, self._setting)
            outcome, told = (Outcome.HARM, told) if few is None else (Outcome.INCONCLUSIVE, f"{few}: {told}")
        else:
            seconds = self._look.at - self._begun_at
            outlook = Outlook(evidence, self._setting.prior, needed, candidate.completed, seconds)
            numbers |= outlook.numbers
            told = f"{told}; {outlook.told}"
        return result(metric, outcome, told, numbers=numbers, evidence=evidence)

    @property
    def _are_sticky(self) -> bool:
        assert self._look is not None
        return self._look.candidate.sticky + self._look.stable.sticky > 0

    def _by_callers(self) -> tuple[Mapping[str, float], Mapping[str, float]] | None:
        """Both arms' answers with each caller once; None where there is no caller, or none was counted yet."""
        seen = self._entities
        if not self._are_sticky or self._setting.share is None or seen is None:
            return None
        return (seen.candidate_latency, seen.stable_latency) if seen.candidate_latency or seen.stable_latency else None

    def _evidence(self, candidate: Mapping[str, float], stable: Mapping[str, float]) -> float:
        """That slow answers fall on the candidate's callers more often than its share: the mean over the bounds.

        Which bounds are asked is read from both arms together, so it says nothing of either.
        """
        assert self._setting.share is not None
        slower = np.stack([slower_than(candidate), slower_than(stable)])
        together = slower.sum(axis=0)
        asked = np.flatnonzero((together[1:] > 0.02 * together[0]) & (together[1:] < 0.98 * together[0])) + 1
        return log_mean(log_evidence(slower[0, asked], slower[1, asked], share=self._setting.share))


def _limit(metric: Metric, stable_ms: float) -> float:
    return max(metric.threshold * stable_ms, stable_ms + metric.floor_ms)


def slower_than(latency: Mapping[str, float]) -> Floats:
    """All answers, and then those slower than each of `BOUNDS`."""
    histogram = np.zeros(len(BOUNDS) + 1)
    for bound, count in latency.items():
        histogram[_index(bound)] += count
    return histogram[::-1].cumsum()[::-1]


@lru_cache(maxsize=4096)
def _index(bound: str) -> int:
    return int(np.searchsorted(BOUNDS, float(bound)))


def _interval(arm: str, latency: Mapping[str, float], quantile: float, alpha: float) -> dict[str, float]:
    """Where the quantile lies at all times, with probability 1 - alpha; an end that isn't known yet is left out."""
    answers = sum(latency.values())
    if answers < 2:
        return {}
    spent = (1.4 * math.log(math.log(2.1 * answers)) + math.log(10 / alpha)) / answers
    margin = 1.5 * math.sqrt(quantile * (1 - quantile) * spent) + 0.8 * spent
    ends = {"lower": quantile - margin, "upper": quantile + margin}
    return {
        f"{arm}_{end}_ms": value
        for end, at in ends.items()
        if 0 < at < 1 and (value := quantile_of(latency, at)) is not None
    }
