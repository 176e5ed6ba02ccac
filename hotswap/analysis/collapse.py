"""The judge of collapse: whether a candidate's answers have become alike, or are plainly others than the stable's.

Answers, their sizes and their confidences are each a distribution over a few categories. Each category is judged as
errors are: by the Beta mixture's evidence that it falls on the candidate more often than its share, or more seldom, and
by how much more of the candidate's answers lie in one of them. So a version that says the same to everybody, is unsure
of everything, or has its labels exchanged has one category that is far too common, whatever the answers are: text,
numbers, or none at all. A version that answers better in some cases hasn't. Callers that keep their arm count once
each.

Both arms are asked the same mix over the same time, so labels whose shares differ plainly differ by the model and not
by the traffic: they have a smaller limit (`label_shift`). Confidences and sizes have none, since a version that is a
little surer moves a good part of its answers from one class to the next.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.evidence import log_evidence, log_mean
from hotswap.analysis.figures import Setting, result, too_few
from hotswap.domain.analysis import ANSWER, Metric, Observation, Reading
from hotswap.domain.verdict import MetricResult, Outcome

MOST = 20
"""Categories of one distribution that are judged: the commonest of both arms together. Answers of more aren't labels,
as for the backtest."""
DISTRIBUTIONS = 3
"""Answers, sizes and confidences: each of them may be wrong by chance, so each has a third of the chance."""
SHARE_OF_ALPHA = 0.1
"""The share of alpha: a hold isn't in the family of rollbacks, so its chance comes on top and is kept small."""


class CollapseJudge:
    KEPT: ClassVar[Mapping[str, Any]] = {"_reading": Reading | None}

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._reading: Reading | None = None

    def add(self, observation: Observation) -> None:
        self._reading = observation.readings.get(self._metric.name, self._reading)

    def result(self, *, is_over: bool) -> MetricResult:
        metric, reading, share = self._metric, self._reading, self._setting.share
        if reading is None:
            return self._result(metric, Outcome.INSUFFICIENT_DATA, f"{metric.name} were not read yet")
        if reading.error is not None:
            return self._result(metric, Outcome.ERROR, f"{metric.name}: {reading.error}")
        if share is None:
            lacking = f"{metric.name}: nothing runs beside the candidate, so its answers are compared with nobody's"
            return self._result(metric, Outcome.INSUFFICIENT_DATA, lacking)
        alpha = self._setting.alpha if metric.rolls_back else self._setting.alpha * SHARE_OF_ALPHA
        needed = -math.log(alpha / DISTRIBUTIONS)
        most: tuple[float, str] | None = None
        parts: dict[str, float] = {}
        for name, mine in reading.candidate_shares.items():
            theirs = reading.stable_shares.get(name, {})
            number = sum(mine.values()), sum(theirs.values())
            if min(number) < metric.samples:
                continue
            category = max(mine, key=lambda each: mine[each] / number[0] - theirs.get(each, 0) / number[1])
            here, there = mine[category] / number[0], theirs.get(category, 0) / number[1]
            parts[name] = found = self._prior(name, reading) + _evidence(mine, theirs, share=share)
            limit = self._limit(name, mine, theirs)
            told = (
                f"{name} {_short(category)} is {here:.0%} of the candidate's and {there:.0%} of the stable's, "
                f"threshold {limit:.0%} more, log-evidence {found:.1f} of {needed:.1f}"
            )
            if most is None or here - there > most[0]:
                most = here - there, told
            if here - there > limit and found >= needed:
                if few := too_few(number[0] if reading.has_callers else None, self._setting):
                    return self._result(metric, Outcome.INCONCLUSIVE, f"{metric.name}: {few}: {told}", parts)
                # What is plain holds a rollout also where it may lack data.
                metric = replace(metric, required=True)
                numbers = {"candidate_share": here, "stable_share": there, "excess": here - there}
                message = f"{metric.name} have collapsed or are others: {told}"
                return self._result(metric, Outcome.HARM, message, parts, numbers)
        if most is None:
            lacking = f"{metric.name}: fewer than {metric.samples} answers of an arm that can be compared"
            return self._result(metric, Outcome.INSUFFICIENT_DATA, lacking, parts)
        return self._result(metric, Outcome.PASS, f"{metric.name}: {most[1]}", parts, {"excess": most[0]})

    def _result(
        self,
        metric: Metric,
        outcome: Outcome,
        message: str,
        parts: Mapping[str, float] | None = None,
        numbers: Mapping[str, float] | None = None,
    ) -> MetricResult:
        """Return the result with the evidence of each distribution; the metric shows the largest."""
        known = {**self._setting.prior_parts, **(parts or {})}
        found = result(metric, outcome, message, numbers=numbers, evidence=max(known.values(), default=0.0))
        return replace(found, parts=known)

    def _prior(self, name: str, reading: Reading) -> float:
        """Return what the steps before have shown of this distribution.

        Callers that keep their arm were at the candidate in the steps before as well: to count them again for each step
        would be no evidence.
        """
        return 0.0 if reading.has_callers else self._setting.prior_parts.get(name, 0.0)

    def _limit(self, name: str, mine: Mapping[str, float], theirs: Mapping[str, float]) -> float:
        """Return how much larger one category's share may be; the limit is lower for labels than for anything else."""
        shift = self._metric.label_shift
        if shift is None or name != ANSWER or len({*mine, *theirs}) > MOST:
            return self._metric.threshold
        return min(shift, self._metric.threshold)


def _evidence(mine: Mapping[str, float], theirs: Mapping[str, float], *, share: float) -> float:
    """Return the mean of the commonest categories' e-values, in either direction.

    Both arms together decide which categories are the commonest.
    """
    together = {each: mine.get(each, 0) + theirs.get(each, 0) for each in {*mine, *theirs}}
    commonest = sorted(together, key=lambda each: (-together[each], each))[:MOST]
    here = np.array([mine.get(each, 0.0) for each in commonest])
    there = np.array([theirs.get(each, 0.0) for each in commonest])
    found = [*log_evidence(here, there, share=share), *log_evidence(there, here, share=1 - share)]
    # Those that are missing count as 1 each, so that how many there are is nothing to choose.
    return log_mean(found + [0.0] * (2 * MOST - len(found)))


def _short(category: str) -> str:
    return category if len(category) <= 40 else f"{category[:40]}…"
