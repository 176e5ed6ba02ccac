"""The judge of a model's first version: the share of its own requests that went wrong, against a limit.

It compares nothing, since nothing serves beside a first version. Harm is a share over its limit that the evidence
shows: the lower bound of the share, which holds at all times, is above it. Callers that keep their arm count once each,
and until they are counted their requests are no evidence, as for every judge (decision 22).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from hotswap.analysis.draws import Draws, candidate_arm, rate_within
from hotswap.analysis.figures import Setting, result
from hotswap.domain.analysis import Entities, Metric, Observation, Source
from hotswap.domain.verdict import MetricResult, Outcome


class LimitJudge:
    """Judges 5xx of errors, 4xx of refusals, and of latency what took longer than `maximum` milliseconds."""

    KEPT: ClassVar[Mapping[str, Any]] = {"_look": Observation | None, "_entities": Entities | None}

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._look: Observation | None = None
        self._entities: Entities | None = None

    def add(self, observation: Observation) -> None:
        self._look = observation
        self._entities = observation.entities or self._entities

    def result(self, *, is_over: bool) -> MetricResult:
        assert self._look is not None
        metric, draws = self._metric, self._draws(self._look)
        lower, _ = rate_within(draws.failed, draws.good, alpha=self._setting.alpha)
        numbers = {"rate": draws.rate, "rate_lower": lower}
        told = f"{draws.failed:.9g} of {draws.number:.9g} {self._what} ({draws.rate:.2%}, limit {metric.threshold:.2%})"
        if lower > metric.threshold:
            outcome = Outcome.HARM
            if self._look.candidate.sticky and not draws.suffice(self._setting.minimum_callers):
                outcome = Outcome.INCONCLUSIVE
                least = f"{self._setting.minimum_callers} callers (`minimumCallers`)"
                told = f"{told}; harm needs at least {least}, more than one of them hit"
        elif draws.number < metric.samples:
            outcome, told = Outcome.INSUFFICIENT_DATA, f"{told}, fewer than {metric.samples} requests"
        elif draws.rate > metric.threshold:
            outcome, told = Outcome.INCONCLUSIVE, f"{told}, which may yet be chance"
        else:
            outcome = Outcome.PASS
        return result(metric, outcome, told, numbers=numbers)

    @property
    def _what(self) -> str:
        if self._metric.maximum is not None:
            return f"took longer than {self._metric.maximum:g} ms"
        return "were refused" if self._metric.source is Source.REFUSALS else "failed"

    def _draws(self, observation: Observation) -> Draws:
        counts, seen = observation.candidate, self._entities
        if self._metric.source is not Source.LATENCY:
            return candidate_arm(counts, seen, self._metric.source).draws
        if not counts.sticky:
            return self._slow(counts.latency)
        # Records tell of every caller's answers, and of those to nobody in particular.
        return self._slow(seen.candidate_latency if seen is not None else {})

    def _slow(self, latency: Mapping[str, float]) -> Draws:
        assert self._metric.maximum is not None
        slow = sum(count for bound, count in latency.items() if float(bound) > self._metric.maximum * 1000)
        return Draws(slow, sum(latency.values()))
