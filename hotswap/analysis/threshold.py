"""The judge without statistics: a value outside its limits so many readings in a row, or a webhook that says no.

Values come from wherever the metric's source has them: queries and drift say them, counts and moments are worked out.
Where nothing runs beside the candidate, what is worked out is the stable's of another time, so its ratio is never harm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from hotswap.analysis.figures import OF_ANOTHER_TIME, Setting, result, value_of
from hotswap.domain.analysis import FROM_PROXIES, Metric, Moments, Observation, Reading
from hotswap.domain.verdict import MetricResult, Outcome


@dataclass(frozen=True, slots=True)
class _Seen:
    """One reading: its value, or why there is none: too little to tell (then there is no message), or an error."""

    value: float | None = None
    breached: bool = False
    message: str = ""
    lack: str = ""
    error: str | None = None
    of_another_time: bool = False


class ThresholdJudge:
    KEPT: ClassVar[Mapping[str, Any]] = {"_seen": _Seen | None, "_in_a_row": int, "_read": Observation | None}

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._seen: _Seen | None = None
        self._in_a_row = 0
        self._read: Observation | None = None

    def add(self, observation: Observation) -> None:
        if self._metric.source in FROM_PROXIES:
            if (found := self._of_counts(observation)) is None:
                return
            seen = found
        elif (reading := observation.readings.get(self._metric.name)) is not None:
            seen = self._of_reading(reading)
        else:
            return
        self._seen = seen
        # An error, or no value, neither breaches nor clears: what comes next to it is what counts.
        if seen.error is None and seen.message:
            self._in_a_row = self._in_a_row + 1 if seen.breached else 0

    def result(self, *, is_over: bool) -> MetricResult:
        metric, seen = self._metric, self._seen
        if seen is None:
            return result(metric, Outcome.INSUFFICIENT_DATA, f"{metric.name} was not read yet")
        numbers = {"in_a_row": float(self._in_a_row)} | ({} if seen.value is None else {"value": seen.value})
        is_excess_of_another_time = seen.of_another_time and seen.breached
        if is_excess_of_another_time:
            outcome, told = Outcome.INCONCLUSIVE, f"{seen.message}, {OF_ANOTHER_TIME}"
        elif self._in_a_row >= metric.failures:
            outcome, told = Outcome.HARM, seen.message or f"breached {self._in_a_row} times in a row"
        elif seen.error is not None:
            outcome, told = Outcome.ERROR, seen.error
        elif not seen.message:
            lack = seen.lack or f"too little data, fewer than {metric.samples} of an arm or none"
            outcome, told = Outcome.INSUFFICIENT_DATA, lack
        elif seen.breached:
            outcome, told = Outcome.INCONCLUSIVE, f"{seen.message}, {self._in_a_row} of {metric.failures} in a row"
        else:
            outcome, told = Outcome.PASS, seen.message
        return result(
            metric, outcome, f"{metric.name}: {told}", numbers=numbers, of_another_time=is_excess_of_another_time
        )

    def _of_counts(self, observation: Observation) -> _Seen | None:
        """Return a reading of what came since the last one, at least `interval` later; None if there is none yet."""
        metric, before = self._metric, self._read
        if before is not None and observation.at - before.at < metric.interval_seconds:
            return None
        candidate = observation.candidate if before is None else observation.candidate - before.candidate
        stable = self._setting.stable(observation)
        if before is not None and self._setting.reference is None:
            stable = stable - before.stable
        # Answers of any kind count: an arm that fails everything has a reading too.
        if candidate.completed < metric.samples or (metric.relative and stable.completed < metric.samples):
            return _Seen() if before is None else None
        self._read = observation
        return self._worked_out(value_of(metric, candidate), value_of(metric, stable))

    def _of_reading(self, reading: Reading) -> _Seen:
        if reading.error is not None:
            return _Seen(error=reading.error)
        if reading.passed is not None:
            told = reading.message or ("passed" if reading.passed else "did not pass")
            return _Seen(breached=not reading.passed, message=told)
        if reading.candidate_value is not None:
            seen = self._judged(reading.candidate_value, reading.stable_value)
            told = seen.message and reading.message
            return replace(seen, message=f"{seen.message}: {reading.message}") if told else seen
        mine, theirs = reading.candidate or Moments(), reading.stable or Moments()
        if mine.count < self._metric.samples or (self._metric.relative and theirs.count < self._metric.samples):
            return _Seen(lack=reading.message)
        return self._worked_out(mine.mean, theirs.mean)

    def _worked_out(self, mine: float | None, theirs: float | None) -> _Seen:
        is_alone = self._setting.share is None
        return replace(self._judged(mine, theirs), of_another_time=is_alone and self._metric.relative)

    def _judged(self, mine: float | None, theirs: float | None) -> _Seen:
        metric = self._metric
        value, of = mine, ""
        if metric.relative and mine is not None:
            value, of = _ratio(mine, theirs), " times the stable's"
        if value is None or math.isnan(value):
            return _Seen()
        if metric.maximum is not None and value > metric.maximum:
            return _Seen(value, True, f"{value:.4g}{of} is above {metric.maximum:g}")
        if metric.minimum is not None and value < metric.minimum:
            return _Seen(value, True, f"{value:.4g}{of} is below {metric.minimum:g}")
        return _Seen(value, False, f"{value:.4g}{of} is within its limits")


def _ratio(mine: float, theirs: float | None) -> float | None:
    if theirs is None:
        return None
    if theirs == 0:
        return 1.0 if mine == 0 else float("inf")
    return mine / theirs
