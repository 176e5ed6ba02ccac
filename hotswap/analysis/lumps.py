"""Lumps of both arms' latencies, each of which came between two observations, to bet on (`betting.py`)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.betting import Betting, Floats

BOUNDS = 100.0 * 2.0 ** (np.arange(60) / 3)
"""Bounds in microseconds, from 0.1 ms to 1.5 minutes, each a quarter above the one before."""


class Lumps:
    """Evidence that the candidate's answers are slower, from counts that only grow."""

    KEPT: ClassVar[Mapping[str, Any]] = {"_betting": Betting, "_folded": np.ndarray}

    def __init__(self) -> None:
        self._betting = Betting(len(BOUNDS))
        self._folded = np.zeros((2, len(BOUNDS) + 1))

    def add(self, candidate: Mapping[str, float], stable: Mapping[str, float]) -> None:
        """Take all that each arm has answered by now, by the upper bound of its bucket in microseconds."""
        slower = np.stack([slower_than(candidate), slower_than(stable)])
        new = slower - self._folded
        self._folded = slower
        if (new >= 0).all():  # what shrank was counted by somebody else
            self._betting.add(new[:, 1:], new[:, 0])

    @property
    def log_evidence(self) -> float:
        return float(self._betting.log_evidence)


def slower_than(latency: Mapping[str, float]) -> Floats:
    """Return the number of all answers, and then of those slower than each of `BOUNDS`."""
    histogram = np.zeros(len(BOUNDS) + 1)
    for bound, count in latency.items():
        histogram[_index(bound)] += count
    return histogram[::-1].cumsum()[::-1]


@lru_cache(maxsize=4096)
def _index(bound: str) -> int:
    return int(np.searchsorted(BOUNDS, float(bound)))
