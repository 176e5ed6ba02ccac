"""The judge of a model's first version: the share of its own requests that went wrong, against a limit.

It compares nothing, since nothing serves beside a first version. Harm is a share over its limit that the evidence
shows: the lower bound of the share, which holds at all times, is above it. Callers that keep their arm count once each,
and until they are counted their requests are no evidence, as for every judge (decision 22).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from hotswap.analysis.errors import rate_within
from hotswap.analysis.figures import Setting, result
from hotswap.domain.analysis import Entities, Look, Metric, Source
from hotswap.domain.verdict import MetricResult, Outcome


@dataclass(frozen=True, slots=True)
class _Draws:
    """What doesn't depend on each other, and how much of it went wrong; a caller of whom a part did counts in part."""

    wrong: float = 0.0
    number: float = 0.0

    def __add__(self, other: "_Draws") -> "_Draws":
        return _Draws(self.wrong + other.wrong, self.number + other.number)

    def __sub__(self, other: "_Draws") -> "_Draws":
        return _Draws(max(self.wrong - other.wrong, 0.0), max(self.number - other.number, 0.0))

    @property
    def rate(self) -> float:
        return self.wrong / self.number if self.number else 0.0


class LimitJudge:
    """Judges 5xx of errors, 4xx of refusals, and of latency what took longer than `maximum` milliseconds."""

    KEPT: ClassVar[Mapping[str, Any]] = {"_look": Look | None, "_entities": Entities | None}

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
        metric, draws = self._metric, self._draws(self._look)
        least, _ = rate_within(draws.wrong, draws.number - draws.wrong, alpha=self._setting.alpha)
        numbers = {"rate": draws.rate, "rate_lower": least}
        told = f"{draws.wrong:g} of {draws.number:g} {self._what} ({draws.rate:.2%}, limit {metric.threshold:.2%})"
        if least > metric.threshold:
            outcome = Outcome.HARM
            if self._look.candidate.sticky and (draws.number < self._setting.minimum_callers or draws.wrong <= 1):
                outcome = Outcome.INCONCLUSIVE
                told = f"{told}, of fewer than {self._setting.minimum_callers} callers or of one (`minimumCallers`)"
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

    def _draws(self, look: Look) -> _Draws:
        counts, seen = look.candidate, self._entities or Entities()
        match self._metric.source:
            case Source.LATENCY:
                # Records tell of every caller's answers, and of those to nobody in particular.
                return self._slow(seen.candidate_latency if counts.sticky else counts.latency)
            case Source.REFUSALS:
                requests = _Draws(counts.client_errors, counts.completed)
                sticky = _Draws(counts.sticky_refused, counts.sticky)
                callers = _Draws(seen.candidate_refused, seen.candidate)
            case _:
                requests = _Draws(counts.server_errors, counts.completed)
                sticky = _Draws(counts.sticky_errors, counts.sticky)
                callers = _Draws(seen.candidate_failed, seen.candidate)
        return requests - sticky + callers if counts.sticky else requests

    def _slow(self, latency: Mapping[str, float]) -> _Draws:
        assert self._metric.maximum is not None
        slow = sum(count for bound, count in latency.items() if float(bound) > self._metric.maximum * 1000)
        return _Draws(slow, sum(latency.values()))
