"""Evidence that one arm's values are worse, lump by lump: always valid, and never enough from one burst on one arm.

A lump is what came between two observations. In each, capital is bet on D, the candidate's mean minus the stable's,
which is within -1 and 1 and, whatever both arms have in common at that time, 0 on average if the arms don't differ. So
the capital, the product of 1 + stake x D, is a test martingale: by Ville's inequality it ever exceeds 1/alpha with
probability at most alpha, however often it is observed, for heavy tails and for load that both arms share (Waudby-Smith
and Ramdas, arXiv 2010.09686). One lump at most doubles it, however many values it has: harm has to last.

Invariants: what is bet on (which of several features, and how many observations make a lump) follows from earlier lumps
only; a fold holds no more than a few arrays, whatever the number of observations. Arrays may have leading axes, one
entry for each of many runs: the benchmark folds a thousand of them at once, and a rollout's judge has none.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STAKES = np.array([0.1, 0.3, 0.6, 0.95])
"""Mixed with equal weights: large ones find what is plain at once, small ones what is slight."""

_LONGEST = 64


class Betting:
    """Bets on the one of `features` that stood out so far; each says 'worse' by a higher value (0 to 1)."""

    KEPT: ClassVar[Mapping[str, Any]] = dict.fromkeys(
        ("_capital", "_past_sums", "_past_counts", "_sums", "_counts", "_looks", "_span"), np.ndarray
    )

    def __init__(self, features: int, *, runs: tuple[int, ...] = ()) -> None:
        self._capital = np.zeros((*runs, len(STAKES)))
        self._past_sums = np.zeros((*runs, 2, features))
        self._past_counts = np.zeros((*runs, 2))
        self._sums = np.zeros((*runs, 2, features))
        self._counts = np.zeros((*runs, 2))
        self._looks = np.zeros(runs)
        self._span = np.ones(runs)

    def add(self, sums: Floats, counts: Floats) -> None:
        """Add what came since the last observation.

        For the candidate and then the stable it has each feature's sum, and the number of answers.
        """
        self._sums += sums
        self._counts += counts
        self._looks += 1
        full = self._looks >= self._span
        came = self._counts > 0
        seen = came.all(axis=-1)
        difference, known = self._difference()
        self._capital += np.log1p(np.where(full & seen & known, difference, 0.0)[..., None] * STAKES)
        # A lump that lacks an arm says nothing. Waiting for the arm would favor the seconds in which it came; that the
        # next lump is longer is known before it begins. It is so only where arms come seldom: not before each has come
        # at all, as labels do late, nor in a time in which none comes.
        seldom = came.any(axis=-1) & ~seen & (self._past_counts > 0).all(axis=-1)
        self._span = np.where(full & seldom, np.minimum(self._span * 2, _LONGEST), self._span)
        self._past_sums += np.where(full[..., None, None], self._sums, 0.0)
        self._past_counts += np.where(full[..., None], self._counts, 0.0)
        self._sums = np.where(full[..., None, None], 0.0, self._sums)
        self._counts = np.where(full[..., None], 0.0, self._counts)
        self._looks = np.where(full, 0.0, self._looks)

    @property
    def log_evidence(self) -> Floats:
        return np.asarray(np.logaddexp.reduce(self._capital, axis=-1)) - math.log(len(STAKES))

    def _difference(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Return the lump's difference in the chosen feature, and whether there was a past to choose it by."""
        means = self._sums / np.maximum(self._counts, 1)[..., None]
        chosen, known = self._choice()
        mine = np.take_along_axis(means[..., 0, :], chosen[..., None], axis=-1)[..., 0]
        theirs = np.take_along_axis(means[..., 1, :], chosen[..., None], axis=-1)[..., 0]
        return np.clip(mine - theirs, -1.0, 1.0), known

    def _choice(self) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the feature by which the candidate was worse most clearly, in standard deviations."""
        counts = np.maximum(self._past_counts, 1)
        means = self._past_sums / counts[..., None]
        if means.shape[-1] == 1:
            return np.zeros(means.shape[:-2], dtype=np.intp), np.ones(means.shape[:-2], dtype=np.bool_)
        center = self._past_sums.sum(axis=-2) / counts.sum(axis=-1)[..., None]
        weight = (1 / counts).sum(axis=-1)
        # Of a feature that is always, or never, there is no deviation: half a value more keeps it from standing out.
        spread = np.maximum(center * (1 - center), 0.0) * weight[..., None] + weight[..., None] ** 2
        distance = (means[..., 0, :] - means[..., 1, :]) / np.sqrt(spread)
        return np.argmax(distance, axis=-1), np.asarray((self._past_counts > 0).all(axis=-1))
