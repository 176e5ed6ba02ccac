"""Evidence that may be looked at every second: the always-valid Beta mixture for counts.

Under no regression each event falls on the candidate with a known probability. The mixture's e-value is the likelihood
ratio of 'it falls there more often' against that; by Ville's inequality it ever exceeds 1/alpha with probability at
most alpha, however often one looks. Source: Lindon and Malek, NeurIPS 2022, arXiv 2011.03567.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincc, betaln

TILTS = 2.0 ** np.arange(-1, 5)
"""Mixed with equal weights: half a width of difference among values that differ much, and a tenth among alike ones."""


def log_evidence(
    hits: ArrayLike, misses: ArrayLike, *, share: float, a: float = 1.0, b: float = 1.0
) -> NDArray[np.float64]:
    """Return the natural logarithm of the one-sided e-value for 'a hit is more likely than `share`'.

    It takes one run or many. For errors with both arms side by side: `hits` are the candidate's errors, `misses` the
    stable's, `share` is the candidate's share of the traffic. For one arm against a known rate: its errors, its
    successes, and that rate. A draw that is bad by a part of 1 counts for that part: as x^b is concave, its bet is no
    better than fair. `a`, `b` shape the Beta prior, cut off at `share`.

    Raises ValueError unless 0 < share < 1, and for negative counts.
    """
    hits, misses = np.asarray(hits, dtype=float), np.asarray(misses, dtype=float)
    if (hits < 0).any() or (misses < 0).any():
        raise ValueError(f"{hits} hits and {misses} misses are no counts")
    if not 0 < share < 1:
        raise ValueError(f"a share of {share} leaves nothing to compare")
    prior = betaln(a, b) + math.log(betaincc(a, b, share))
    null = hits * math.log(share) + misses * math.log1p(-share)
    return np.asarray(_log_upper_beta(a + hits, b + misses, share) - prior - null)


def log_evidence_of_values(worse: float, squares: float) -> float:
    """Return the natural logarithm of the e-value for 'worse values fall on the candidate more often'.

    The values are within a width, and each fell on the candidate with the same probability, by itself. `squares` is the
    sum of the squared distances of all values from their mean, `worse` the sum of the candidate's distances, in widths.
    Where arms don't differ, any set of values may have fallen so or otherwise: exp(t worse - t^2 squares / 8) is 1 on
    average at most by Hoeffding's lemma, whatever the values are, and so is the mean over t. Unlike the Beta mixture,
    for which a value of a half is a coin that fell, it knows how little values differ from each other.
    """
    return log_mean(TILTS * worse - TILTS**2 * max(squares, 0.0) / 8)


def log_mean(found: Sequence[float] | NDArray[np.float64]) -> float:
    """Return the logarithm of the mean of these e-values, an e-value itself, however they depend on each other."""
    if not len(found):
        return 0.0
    return float(np.logaddexp.reduce(found)) - math.log(len(found))


def _log_upper_beta(a: NDArray[np.float64], b: NDArray[np.float64], x: float) -> NDArray[np.float64]:
    """Return the logarithm of the incomplete Beta integral from x to 1, also where it is too small for a float."""
    tail = betaincc(a, b, x)
    # Far right of the mode the integrand falls off like an exponential: its value at x over its slope there.
    slope = (b - 1) / (1 - x) - (a - 1) / x
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - np.log(slope)
        return np.where(tail > 0, betaln(a, b) + np.log(tail), beyond)
