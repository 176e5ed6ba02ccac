"""Latencies as judges take them: lumps of both arms to bet on (`betting.py`), and where a quantile lies.

The intervals of a quantile are Howard and Ramdas' (Bernoulli 2022, arXiv 1906.09712), for answers that don't depend on
each other: they are shown, and decide only what may be promoted early.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.betting import Betting, Floats
from hotswap.domain.traffic import quantile_of

BOUNDS = 100.0 * 2.0 ** (np.arange(60) / 3)
"""In microseconds, from 0.1 ms to 1.5 minutes, each a quarter above the one before."""


class Lumps:
    """Evidence that the candidate's answers are slower, from counts that only grow."""

    KEPT: ClassVar[Mapping[str, Any]] = {"_betting": Betting, "_folded": np.ndarray}

    def __init__(self) -> None:
        self._betting = Betting(len(BOUNDS))
        self._folded = np.zeros((2, len(BOUNDS) + 1))

    def add(self, candidate: Mapping[str, float], stable: Mapping[str, float]) -> None:
        """All that each arm has answered by now, by the upper bound of its bucket in microseconds."""
        slower = np.stack([slower_than(candidate), slower_than(stable)])
        new = slower - self._folded
        self._folded = slower
        if (new >= 0).all():  # what shrank was counted by somebody else
            self._betting.add(new[:, 1:], new[:, 0])

    @property
    def log_evidence(self) -> float:
        return float(self._betting.log_evidence)


def slower_than(latency: Mapping[str, float]) -> Floats:
    """All answers, and then those slower than each of `BOUNDS`."""
    histogram = np.zeros(len(BOUNDS) + 1)
    for bound, count in latency.items():
        histogram[_index(bound)] += count
    return histogram[::-1].cumsum()[::-1]


@lru_cache(maxsize=4096)
def _index(bound: str) -> int:
    return int(np.searchsorted(BOUNDS, float(bound)))


def interval(arm: str, latency: Mapping[str, float], quantile: float, alpha: float) -> dict[str, float]:
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
