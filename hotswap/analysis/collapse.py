"""The judge of collapse: whether a candidate's answers have become alike, or are plainly others than the stable's.

Answers, their sizes and their confidences are each a distribution over a few categories. Each category is judged as
errors are: by the Beta mixture's evidence that it falls on the candidate more often than its share, or more seldom, and
by how much more of the candidate's answers lie in one of them. So a version that says the same to everybody, is unsure
of everything, or has its labels exchanged has one category that is far too common, whatever the answers are: text,
numbers, or none at all. A version that answers better in some cases hasn't. Callers that keep their arm count once
each.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.evidence import log_evidence, log_mean
from hotswap.analysis.figures import Setting, result, too_few
from hotswap.domain.analysis import Look, Metric, Reading
from hotswap.domain.verdict import MetricResult, Outcome

MOST = 20
"""Categories of one distribution that are judged: the commonest of both arms together."""
SHARE_OF_ALPHA = 0.1
"""What holds a rollout isn't in the family of what rolls it back, so its chance comes on top and is kept small."""


class CollapseJudge:
    KEPT: ClassVar[Mapping[str, Any]] = {"_reading": Reading | None}

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._reading: Reading | None = None

    def add(self, look: Look) -> None:
        self._reading = look.readings.get(self._metric.name, self._reading)

    def result(self, *, is_over: bool) -> MetricResult:
        metric, reading = self._metric, self._reading
        if reading is None:
            return result(metric, Outcome.INSUFFICIENT_DATA, f"{metric.name} were not read yet")
        if reading.error is not None:
            return result(metric, Outcome.ERROR, f"{metric.name}: {reading.error}")
        share = self._setting.share
        if share is None:
            lacking = f"{metric.name}: nothing runs beside the candidate, so its answers are compared with nobody's"
            return result(metric, Outcome.INSUFFICIENT_DATA, lacking)
        alpha = self._setting.alpha if metric.rolls_back else self._setting.alpha * SHARE_OF_ALPHA
        needed = -math.log(alpha)
        most: tuple[float, str] | None = None
        evidence = self._setting.prior
        for name, mine in reading.candidate_shares.items():
            theirs = reading.stable_shares.get(name, {})
            number = sum(mine.values()), sum(theirs.values())
            if min(number) < metric.samples:
                continue
            category = max(mine, key=lambda each: mine[each] / number[0] - theirs.get(each, 0) / number[1])
            here, there = mine[category] / number[0], theirs.get(category, 0) / number[1]
            found = self._setting.prior + _evidence(mine, theirs, share=share)
            evidence = max(evidence, found)
            told = (
                f"{name} {_short(category)} is {here:.0%} of the candidate's and {there:.0%} of the stable's, "
                f"threshold {metric.threshold:.0%} more, log-evidence {found:.1f} of {needed:.1f}"
            )
            if most is None or here - there > most[0]:
                most = here - there, told
            if here - there > metric.threshold and found >= needed:
                if few := too_few(number[0] if self._has_callers else None, self._setting):
                    return result(metric, Outcome.INCONCLUSIVE, f"{metric.name}: {few}: {told}", evidence=evidence)
                # What is plain holds a rollout also where it may lack data.
                metric = replace(metric, required=True)
                numbers = {"candidate_share": here, "stable_share": there, "excess": here - there}
                message = f"{metric.name} have collapsed or are others: {told}"
                return result(metric, Outcome.HARM, message, numbers=numbers, evidence=evidence)
        if most is None:
            lacking = f"{metric.name}: fewer than {metric.samples} answers of an arm that can be compared"
            return result(metric, Outcome.INSUFFICIENT_DATA, lacking, evidence=evidence)
        return result(metric, Outcome.PASS, f"{metric.name}: {most[1]}", numbers={"excess": most[0]}, evidence=evidence)

    @property
    def _has_callers(self) -> bool:
        assert self._reading is not None
        return self._reading.has_callers


def _evidence(mine: Mapping[str, float], theirs: Mapping[str, float], *, share: float) -> float:
    """The mean of the commonest categories' e-values, in either direction; both arms together say which they are."""
    together = {each: mine.get(each, 0) + theirs.get(each, 0) for each in {*mine, *theirs}}
    commonest = sorted(together, key=lambda each: (-together[each], each))[:MOST]
    here = np.array([mine.get(each, 0.0) for each in commonest])
    there = np.array([theirs.get(each, 0.0) for each in commonest])
    found = [*log_evidence(here, there, share=share), *log_evidence(there, here, share=1 - share)]
    # Those that are missing count as 1 each, so that how many there are is nothing to choose.
    return log_mean(found + [0.0] * (2 * MOST - len(found)))


def _short(category: str) -> str:
    return category if len(category) <= 40 else f"{category[:40]}…"
