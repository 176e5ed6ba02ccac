"""The same quantile of both arms' latencies, beside each other.

The intervals are Howard and Ramdas' (Bernoulli 2022, arXiv 1906.09712), for answers that don't depend on each other:
they are shown, and decide only what may be promoted early.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hotswap.domain.analysis import Metric
from hotswap.domain.traffic import quantile_of


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Quantiles of both arms in milliseconds, with `numbers` as a verdict has them."""

    metric: Metric
    candidate_ms: float
    stable_ms: float
    numbers: dict[str, float]

    @property
    def is_slower(self) -> bool:
        return self.candidate_ms > limit_ms(self.metric, self.stable_ms)

    @property
    def is_shown_fast(self) -> bool:
        """Return whether the candidate isn't slower wherever in their intervals both quantiles are."""
        upper, lower = self.numbers.get("candidate_upper_ms"), self.numbers.get("stable_lower_ms")
        return upper is not None and lower is not None and upper < limit_ms(self.metric, lower)

    @property
    def told(self) -> str:
        return (
            f"{named(self.metric, self.candidate_ms)} is {self.candidate_ms / self.stable_ms:.2f} times the stable's "
            f"{self.stable_ms:.1f} ms, threshold {self.metric.threshold:g} and {self.metric.floor_ms:g} ms more"
        )


def quantiles(
    metric: Metric, candidate: Mapping[str, float], stable: Mapping[str, float], *, alpha: float
) -> Quantiles | None:
    """Compare quantiles of answers by their buckets' upper bounds in microseconds; None where an arm has no answer.

    Each interval is wrong with probability `alpha` at most, at whatever time it is read.
    """
    mine, theirs = (quantile_of(latency, metric.quantile) for latency in (candidate, stable))
    if mine is None or theirs is None:
        return None
    numbers = {"candidate_ms": mine, "stable_ms": theirs, "ratio": mine / theirs}
    for arm, latency in (("candidate", candidate), ("stable", stable)):
        numbers |= _interval(arm, latency, metric.quantile, alpha)
    return Quantiles(metric, mine, theirs, numbers)


def named(metric: Metric, candidate_ms: float) -> str:
    """Return the candidate's quantile in words."""
    return f"latency p{metric.quantile * 100:g} {candidate_ms:.1f} ms"


def limit_ms(metric: Metric, stable_ms: float) -> float:
    """Return the largest quantile of the candidate that counts as no slower than the stable's."""
    return max(metric.threshold * stable_ms, stable_ms + metric.floor_ms)


def _interval(arm: str, latency: Mapping[str, float], quantile: float, alpha: float) -> dict[str, float]:
    """Return where the quantile lies at all times, with probability 1 - alpha; an unknown end is left out."""
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
