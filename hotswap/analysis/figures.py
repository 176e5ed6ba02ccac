"""An arm's figures from its counts and the judges' settings, and the result that every judge returns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hotswap.analysis.folded import Folding
from hotswap.domain.analysis import MINIMUM_CALLERS, JudgeName, Metric, NoVerdict, Observation, Source
from hotswap.domain.baking import SECONDS_NEEDED
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import ArmFigures, MetricResult, Outcome, Reason

_REASONS = {
    Source.ERRORS: Reason.ERROR_RATE,
    Source.REFUSALS: Reason.REFUSALS,
    Source.LATENCY: Reason.LATENCY,
    Source.ACCURACY: Reason.ACCURACY,
    Source.DRIFT: Reason.DRIFT,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """The step in which a metric is judged, and the evidence that is needed.

    `prior` is the evidence of the steps before, and `prior_parts` that of single parts of the metric; `early` says
    whether anybody asks for non-inferiority. If callers are known, harm needs at least `minimum_callers` of them.
    """

    weight: int
    reference: Counts | None
    alpha: float
    prior: float = 0.0
    early: bool = False
    minimum_callers: int = MINIMUM_CALLERS
    prior_parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float | None:
        """The candidate's of the traffic; None where nothing runs beside it, or nothing comes to it."""
        return self.weight / TOTAL_WEIGHT if self.reference is None and 0 < self.weight < TOTAL_WEIGHT else None

    def stable(self, observation: Observation) -> Counts:
        return observation.stable if self.reference is None else self.reference


OF_ANOTHER_TIME = (
    "but at 100% nothing runs beside the candidate: the stable's figures are of another time, so the world may have "
    "changed and not the version"
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The distance of the evidence from enough, if it goes on as it did; `requests` are the candidate's so far."""

    evidence: float
    prior: float
    needed: float
    requests: int
    seconds: float

    @property
    def more(self) -> int | None:
        """The candidate's requests that are still needed; None where nothing so far speaks for harm."""
        grown = self.evidence - self.prior
        if grown <= 0 or self.requests <= 0:
            return None
        return max(math.ceil((self.needed - self.evidence) / grown * self.requests), 0)

    @property
    def more_seconds(self) -> float | None:
        """The seconds that these take if they come as they did; None if that isn't known."""
        more = self.more
        return None if more is None or self.seconds <= 0 else more / self.requests * self.seconds

    @property
    def told(self) -> str:
        if (more := self.more) is None:
            return "so far the evidence says that it is chance"
        lasting = f", about {seconds:.0f} s at this rate" if (seconds := self.more_seconds) is not None else ""
        return f"if it goes on so, the evidence needs {more} more requests of the candidate{lasting}"

    @property
    def numbers(self) -> dict[str, float]:
        needed = {"requests_needed": self.more, SECONDS_NEEDED: self.more_seconds}
        return {name: float(number) for name, number in needed.items() if number is not None}


def too_few(callers: float | None, setting: Setting) -> str | None:
    """Return why evidence of so few callers is no harm; None where it is harm, or where no caller is known."""
    if callers is None or callers >= setting.minimum_callers:
        return None
    return (
        f"{callers:g} known callers came to the candidate, and harm needs at least {setting.minimum_callers} "
        f"(`minimumCallers`)"
    )


class MetricJudge(Folding, Protocol):
    """Judges one metric of one step; folds observations as they come, in memory that doesn't grow with their number."""

    def add(self, observation: Observation) -> None:
        """Add the next observation, newer than the one before."""

    def result(self, *, is_over: bool) -> MetricResult:
        """Return the result; at least one observation was added."""


def result(
    metric: Metric,
    outcome: Outcome,
    message: str,
    *,
    numbers: Mapping[str, float] | None = None,
    evidence: float = 0.0,
    early: bool = False,
    of_another_time: bool = False,
    is_chance: bool = False,
) -> MetricResult:
    """Return a metric's result: harm has the reason of its source, and a metric that doesn't roll back never harms.

    A metric that isn't required passes if it only lacks data, but not while the evidence speaks against the candidate.
    An excess over another time's figures has until the deadline to go away, and then a person decides, unless the
    metric says otherwise.
    """
    if outcome is Outcome.HARM and not metric.rolls_back:
        outcome, message = Outcome.INCONCLUSIVE, f"worse, but {metric.name} rolls nothing back: {message}"
    extends = of_another_time and metric.on_no_verdict is NoVerdict.EXTEND
    speaks_against = outcome is Outcome.INCONCLUSIVE and metric.rolls_back and evidence > 0
    reason = Reason.LIMIT if metric.judge is JudgeName.LIMIT else _REASONS.get(metric.source, Reason.METRIC)
    return MetricResult(
        metric.name,
        metric.judge,
        outcome,
        message,
        {name: number for name, number in (numbers or {}).items() if math.isfinite(number)},
        reason if outcome is Outcome.HARM else None,
        metric.required or speaks_against,
        NoVerdict.HOLD if extends else metric.on_no_verdict,
        evidence,
        early and outcome is Outcome.PASS,
        extends,
        is_chance=is_chance and outcome is Outcome.INCONCLUSIVE,
    )


def figures(counts: Counts) -> ArmFigures:
    return ArmFigures(
        requests=counts.completed,
        errors=counts.server_errors,
        latency_p50_ms=quantile_ms(counts, 0.5),
        latency_p95_ms=quantile_ms(counts, 0.95),
        refused=counts.client_errors,
    )


def quantile_ms(counts: Counts, q: float) -> float | None:
    """Return the upper bound, in milliseconds, of the bucket that holds the q-quantile; None without an answer."""
    return counts.latency_quantile_ms(q)


def value_of(metric: Metric, counts: Counts) -> float | None:
    """Return counts as one number: a latency's quantile, or the failed or refused share; None without answers."""
    if metric.source is Source.LATENCY:
        return quantile_ms(counts, metric.quantile)
    bad = counts.client_errors if metric.source is Source.REFUSALS else counts.server_errors
    return bad / counts.completed if counts.completed else None
