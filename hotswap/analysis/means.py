"""The judge of means (accuracy, confidence, what a business counts): worse than the stable's by more than a threshold.

The evidence of labels is betting's, on what came between two readings: sums are cumulative, so late labels are fine. Of
predictions and confidence, which don't come in bursts that are worse, it is faster (`concentration.py`). Callers that
keep their arm count once each, by the mean of their values: where there are any, harm needs evidence as well that bad
values fall on the candidate's callers more often than its share (`evidence.py`).
Where nothing runs beside the candidate, the mean that the stable had before is shown, and is never harm.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.betting import Betting
from hotswap.analysis.concentration import Concentration
from hotswap.analysis.evidence import log_evidence, log_evidence_of_values, log_mean
from hotswap.analysis.figures import OF_ANOTHER_TIME, Outlook, Setting, result, too_few
from hotswap.domain.analysis import Metric, Moments, Observation, Reading, Source, Worse
from hotswap.domain.verdict import MetricResult, Outcome

_SINGLE = frozenset({Source.CONFIDENCE, Source.PREDICTION})
"""Values that don't depend on each other, whenever they come."""


class MeanJudge:
    KEPT: ClassVar[Mapping[str, Any]] = {
        "_bet": Concentration | Betting,
        "_folded": tuple[Moments, Moments],
        "_draws": tuple[Moments, Moments] | None,
        "_reading": Reading | None,
        "_begun_at": float,
        "_at": float,
    }

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._bet = Concentration() if metric.source in _SINGLE else Betting(1)
        self._folded = (Moments(), Moments())
        self._draws: tuple[Moments, Moments] | None = None
        self._reading: Reading | None = None
        self._begun_at = self._at = 0.0

    def add(self, observation: Observation) -> None:
        self._begun_at = self._begun_at or observation.at
        self._at = observation.at
        reading = observation.readings.get(self._metric.name)
        if reading is None:
            return
        self._reading = reading
        if reading.error is not None:
            return
        both = (reading.candidate or Moments(), reading.stable or Moments())
        new = tuple(now - before for now, before in zip(both, self._folded, strict=True))
        if min(each.count for each in new) < 0:
            return  # Read from somewhere that knew less than the reading before: the next one that knows more counts.
        self._folded = both
        if reading.candidate_draws is not None or reading.stable_draws is not None:
            self._draws = (reading.candidate_draws or Moments(), reading.stable_draws or Moments())
        if self._setting.share is not None:
            self._bet.add(
                np.array([[self._badness(each)] for each in new]), np.array([float(each.count) for each in new])
            )

    def _badness(self, moments: Moments) -> float:
        """Return the sum of the values, each from 0 (the best of `bounds`) to 1 (the worst)."""
        least, most = self._metric.bounds
        share = (moments.total - least * moments.count) / (most - least)
        share = min(max(share, 0.0), float(moments.count))
        return share if self._metric.worse is Worse.HIGHER else moments.count - share

    def _evidence(self) -> float:
        lasting = self._setting.prior + float(self._bet.log_evidence)
        if self._draws is None or (share := self._setting.share) is None:
            return lasting
        mine, theirs = (self._badness(each) for each in self._draws)
        as_coins = float(log_evidence(mine, theirs, share=share))
        # Callers were at the candidate in the steps before as well, so theirs is this step's evidence alone.
        return min(lasting, log_mean([as_coins, self._evidence_of_values(*self._draws)]))

    def _evidence_of_values(self, candidate: Moments, stable: Moments) -> float:
        """Return the evidence that the callers with worse values are the candidate's."""
        both = candidate + stable
        mean = both.mean or 0.0
        width = self._metric.bounds[1] - self._metric.bounds[0]
        sign = 1 if self._metric.worse is Worse.HIGHER else -1
        worse = sign * (candidate.total - candidate.count * mean)
        return log_evidence_of_values(worse / width, (both.squares - both.count * mean**2) / width**2)

    def result(self, *, is_over: bool) -> MetricResult:
        metric, reading = self._metric, self._reading
        evidence = self._evidence()
        if reading is None:
            return result(metric, Outcome.INSUFFICIENT_DATA, f"{metric.name} was not read yet", evidence=evidence)
        if reading.error is not None:
            return result(metric, Outcome.ERROR, f"{metric.name}: {reading.error}", evidence=evidence)
        values = min(each.count for each in self._folded)
        candidate, stable = self._draws or self._folded
        if candidate.mean is None or stable.mean is None or values < metric.samples:
            lacking = (
                f"{metric.name}: fewer than {metric.samples} values from an arm "
                f"(candidate {self._folded[0].count}, stable {self._folded[1].count})"
            )
            return result(metric, Outcome.INSUFFICIENT_DATA, lacking, evidence=evidence)
        sign = 1 if metric.worse is Worse.HIGHER else -1
        excess = sign * (candidate.mean - stable.mean)
        limit = metric.threshold * abs(stable.mean) if metric.relative else metric.threshold
        needed = -math.log(self._setting.alpha)
        numbers = {"candidate_mean": candidate.mean, "stable_mean": stable.mean, "excess": excess, "limit": limit}
        margin = _margin(candidate.count, metric, self._setting) + _margin(stable.count, metric, self._setting)
        told = (
            f"{metric.name} {candidate.mean:.4g} against the stable's {stable.mean:.4g}, {excess:+.4g} worse, "
            f"threshold {limit:.4g}, log-evidence {evidence:.1f} of {needed:.1f}"
        )
        outcome = Outcome.PASS
        if excess > limit:
            outcome = Outcome.INCONCLUSIVE
            if self._setting.share is None:
                told = f"{told}, {OF_ANOTHER_TIME}"
            elif evidence >= needed:
                few = too_few(candidate.count if self._draws is not None else None, self._setting)
                outcome, told = (Outcome.HARM, told) if few is None else (outcome, f"{few}: {told}")
            else:
                seconds = self._at - self._begun_at
                prior = self._setting.prior if self._draws is None else 0.0
                outlook = Outlook(evidence, prior, needed, self._folded[0].count, seconds)
                numbers |= outlook.numbers
                told = f"{told}; {outlook.told}"
        return result(
            metric,
            outcome,
            told,
            numbers=numbers,
            evidence=evidence,
            early=excess + margin < limit,
            of_another_time=outcome is Outcome.INCONCLUSIVE and self._setting.share is None,
        )


def _margin(count: int, metric: Metric, setting: Setting) -> float:
    """Return how far a mean is from its expectation at most, at all times.

    The bound is Robbins' normal mixture with Hoeffding's lemma.
    """
    rho, variance = 100.0, count / 4
    width = metric.bounds[1] - metric.bounds[0]
    return width * math.sqrt((variance + rho) * (math.log1p(variance / rho) + 2 * math.log(4 / setting.alpha))) / count
