"""Evidence that one arm's bounded values are worse on average, where each value says something by itself.

What a model predicts, and how sure it is, doesn't depend on how busy an arm is, so a value counts whenever it came: 100
of each arm show 0.50 against 0.88. (Latencies and labels come in bursts; `betting.py` is for them.) In each lump, what
came between two readings, the difference D of the means of n and m values is sub-Gaussian with the variance
(1/n + 1/m)/4 by Hoeffding's lemma, around 0 if the arms don't differ, whatever the mean of both is at that time. So
exp(t k D - t^2 k / 8) with k = nm/(n + m) is a fair bet, and so is the product over lumps and the mean over t
(Robbins; Howard, Ramdas, McAuliffe and Sekhon, arXiv 1808.03204).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.betting import Floats

TILTS = np.array([0.25, 0.5, 1.0, 2.0, 3.0])
"""Mixed with equal weights; a difference of D is found soonest by a tilt of 4 D."""


class Concentration:
    """Evidence like that of `Betting`, of one feature."""

    KEPT: ClassVar[Mapping[str, Any]] = {"_capital": np.ndarray}

    def __init__(self, *, runs: tuple[int, ...] = ()) -> None:
        self._capital = np.zeros((*runs, len(TILTS)))

    def add(self, sums: Floats, counts: Floats) -> None:
        """Add what came since the last reading.

        For the candidate and then the stable it is the sum of the values, and their number.
        """
        counts_or_one = np.maximum(counts, 1)
        means = sums[..., 0] / counts_or_one
        both = np.where((counts > 0).all(axis=-1), counts_or_one.prod(axis=-1) / counts_or_one.sum(axis=-1), 0.0)
        worse = (means[..., 0] - means[..., 1]) * both
        self._capital += worse[..., None] * TILTS - both[..., None] * TILTS**2 / 8

    @property
    def log_evidence(self) -> Floats:
        return np.asarray(np.logaddexp.reduce(self._capital, axis=-1)) - math.log(len(TILTS))
