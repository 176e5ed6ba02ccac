"""Kayenta's judge, for people who come from Spinnaker: a Mann-Whitney test of two series, once, at the end of a bake.

The 98% interval of the shift between the series is found as R's `wilcox.test` finds it, by inverting the normal
approximation with corrections for ties and continuity. It isn't valid at repeated observations, hence once: what it
came to is kept, however long the bake goes on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.betting import Floats
from hotswap.analysis.figures import Setting, result, value_of
from hotswap.domain.analysis import FROM_PROXIES, Metric, NoVerdict, Observation, Worse
from hotswap.domain.verdict import MetricResult, Outcome

CONFIDENCE = 0.98
TOLERANCE = 0.25
_POINTS = 1_000


class KayentaJudge:
    KEPT: ClassVar[Mapping[str, Any]] = {
        "_points": tuple[list[float], list[float]],
        "_folded": Observation | None,
        "_error": str | None,
        "_is_read": bool,
        "_said": MetricResult | None,
    }

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._points: tuple[list[float], list[float]] = ([], [])
        self._folded: Observation | None = None
        self._error: str | None = None
        self._is_read = False
        self._said: MetricResult | None = None

    def add(self, observation: Observation) -> None:
        if self._metric.source in FROM_PROXIES:
            self._fold(observation)
        elif (reading := observation.readings.get(self._metric.name)) is not None:
            self._is_read = True
            self._error = reading.error
            for points, seen in zip(self._points, (reading.candidate_points, reading.stable_points), strict=True):
                points[:] = [each for each in seen if each is not None and math.isfinite(each)][-_POINTS:]

    def _fold(self, observation: Observation) -> None:
        """Fold an observation: one point an interval of each arm that answered in it."""
        self._is_read = True
        before = self._folded
        if before is None:
            self._folded = observation
            arms = (observation.candidate, observation.stable)
        elif observation.at - before.at >= self._metric.interval_seconds:
            self._folded = observation
            arms = (observation.candidate - before.candidate, observation.stable - before.stable)
        else:
            return
        for points, counts in zip(self._points, arms, strict=True):
            if (value := value_of(self._metric, counts)) is not None:
                points.append(value)
                del points[:-_POINTS]

    def result(self, *, is_over: bool) -> MetricResult:
        if self._said is not None:
            return self._said
        metric = self._metric
        if not is_over:
            return result(metric, Outcome.INCONCLUSIVE, f"{metric.name} is judged at the end of the bake")
        if self._error is not None:
            return result(metric, Outcome.ERROR, f"{metric.name}: {self._error}")
        candidate, stable = (np.array(points) for points in self._points)
        if len(stable) == 0 and metric.source in FROM_PROXIES and self._setting.share is None:
            alone = f"{metric.name}: nothing runs beside the candidate, so it is compared with nobody"
            if metric.on_no_verdict is NoVerdict.EXTEND:
                metric = replace(metric, on_no_verdict=NoVerdict.HOLD)  # a longer bake would bring nothing to compare
            return result(metric, Outcome.INSUFFICIENT_DATA, alone)
        if min(len(candidate), len(stable)) == 0:
            return result(metric, Outcome.INSUFFICIENT_DATA, f"{metric.name}: a series has no points")
        self._said = self._judged(candidate, stable)
        return self._said

    def _judged(self, candidate: Floats, stable: Floats) -> MetricResult:
        metric = self._metric
        ratio = mean_ratio(candidate, stable)
        lower, upper, shift = shift_interval(candidate, stable)
        numbers = {"shift": shift, "lower": lower, "upper": upper, "ratio": ratio}
        told = (
            f"{metric.name}: mean {candidate.mean():.4g} against the stable's {stable.mean():.4g}, shifted by "
            f"{lower:.4g} to {upper:.4g}"
        )
        if metric.worse is Worse.HIGHER:
            is_harm = lower > TOLERANCE * abs(shift) and ratio >= metric.threshold
        else:
            is_harm = upper < -TOLERANCE * abs(shift) and ratio <= metric.threshold
        return result(metric, Outcome.HARM if is_harm else Outcome.PASS, told, numbers=numbers)


def mean_ratio(candidate: Floats, stable: Floats) -> float:
    mine, theirs = float(candidate.mean()), float(stable.mean())
    if theirs == 0:
        return 1.0 if mine == 0 else math.copysign(math.inf, mine)
    return mine / theirs


def shift_interval(candidate: Sequence[float] | Floats, stable: Sequence[float] | Floats) -> tuple[float, float, float]:
    """Return how far the candidate's values are above the stable's: both ends, and the Hodges-Lehmann estimate."""
    from scipy.optimize import brentq  # It takes 0.3 s to import, which a restarted worker has not to spare.

    mine, theirs = np.asarray(candidate, dtype=float), np.asarray(stable, dtype=float)
    shift = float(np.median(np.subtract.outer(mine, theirs)))
    if np.array_equal(np.sort(mine), np.sort(theirs)) or (np.ptp(mine) == 0 and np.ptp(theirs) == 0):
        return shift, shift, shift
    least, most = float(mine.min() - theirs.max()), float(mine.max() - theirs.min())
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

    def end(level: float) -> float:
        if _wilcoxon(mine - least, theirs) <= level:
            return least
        if _wilcoxon(mine - most, theirs) >= level:
            return most
        return float(brentq(lambda by: _wilcoxon(mine - by, theirs) - level, least, most, xtol=1e-4))

    return end(z), end(-z), shift


def _wilcoxon(mine: Floats, theirs: Floats) -> float:
    """Return the standardised rank sum, corrected for ties and continuity; 0 where all values are equal."""
    m, n = len(mine), len(theirs)
    both = np.concatenate([mine, theirs])
    _, place, ties = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]
    above = float(ranks[:m].sum()) - m * (m + 1) / 2 - m * n / 2
    total = m + n
    variance = m * n / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    if variance <= 0:
        return 0.0
    return (above - math.copysign(0.5, above) * (above != 0)) / math.sqrt(variance)
