"""The distance of each feature from its reference: PSI for categories and bins, Kolmogorov-Smirnov for numbers.

Pure. Drift is evidence *and* a distance that matters: with few values chance alone makes distances, and with many
the least difference is significant. Chance is shared out among the features that are compared (Bonferroni).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from scipy.special import chdtrc, kolmogorov

from hotswap.domain.distributions import Categories, Histogram, Numbers, ReferenceDistribution, is_number, text_of

PSI_ALERT = 0.2
KS_FLOOR = 0.1
ALPHA = 0.05
BINS = 10


class FeatureKind(StrEnum):
    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """One feature's distances from its reference; `ks` is None for categories, and where no number was seen.

    The p-values are of the difference by chance, times the number of features compared.
    """

    kind: FeatureKind
    samples: int
    psi: float
    psi_p: float
    ks: float | None = None
    ks_p: float | None = None

    def distance(self, *, alpha: float = ALPHA) -> float:
        """Return the larger distance that chance explains less often than `alpha`; 0 where it explains both."""
        psi = self.psi if self.psi_p < alpha else 0.0
        ks = self.ks if self.ks is not None and self.ks_p is not None and self.ks_p < alpha else 0.0
        return max(psi, ks)

    @property
    def is_drifted(self) -> bool:
        if self.psi > PSI_ALERT and self.psi_p < ALPHA:
            return True
        return self.ks is not None and self.ks_p is not None and self.ks >= KS_FLOOR and self.ks_p < ALPHA


def compare(
    reference: Mapping[str, ReferenceDistribution], sample: Mapping[str, Sequence[Any]]
) -> dict[str, FeatureDrift]:
    """Compare the features that both know. A feature that no instance has any more counts as missing in all.

    Nothing is compared where they have no feature in common: one side may name them, and the other number them.
    """
    known = {
        name: each for name, each in reference.items() if not (isinstance(each, Categories) and each.is_identifier)
    }
    if not set(known) & set(sample):
        return {}
    rows = max(map(len, sample.values()))
    found = {name: _compared(each, sample.get(name, [None] * rows)) for name, each in known.items()}
    return {
        name: replace(
            each,
            psi_p=min(1.0, each.psi_p * len(found)),
            ks_p=min(1.0, each.ks_p * len(found)) if each.ks_p is not None else None,
        )
        for name, each in found.items()
    }


def furthest(features: Mapping[str, FeatureDrift], *, alpha: float = ALPHA) -> tuple[str, float]:
    """Return the feature that is furthest from its reference, and how far. Raises ValueError without a feature."""
    name = max(features, key=lambda each: features[each].distance(alpha=alpha))
    return name, features[name].distance(alpha=alpha)


def psi(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Return the population stability index of two rows of counts, bin by bin: the sum of (q - p) ln(q / p).

    An empty bin counts as half a value: the fewer values there are, the less it means that a bin is empty.
    """
    p, q = _shares(expected), _shares(actual)
    return float(np.sum((q - p) * np.log(q / p)))


def ks(reference: Iterable[float], sample: Iterable[float]) -> float:
    """Return the two-sample Kolmogorov-Smirnov statistic: the largest difference of the distribution functions."""
    first, second = (np.sort(np.asarray(list(each), dtype=float)) for each in (reference, sample))
    at = np.concatenate([first, second])
    below = [np.searchsorted(each, at, side="right") / len(each) for each in (first, second)]
    return float(np.max(np.abs(below[0] - below[1])))


def _shares(counts: Sequence[float]) -> Any:
    given = np.asarray(counts, dtype=float)
    # Shares, whose sum is 1, are known exactly: then an empty bin is as good as empty.
    least = 0.5 if given.sum() > 1.5 else 1e-6
    filled = np.where(given > 0, given, least)
    return filled / filled.sum()


def _compared(reference: ReferenceDistribution, values: Sequence[Any]) -> FeatureDrift:
    if isinstance(reference, Categories):
        return _categorical(reference, values)
    present = sorted(float(each) for each in values if is_number(each))
    missing = len(values) - len(present)
    histogram = _histogram(reference) if isinstance(reference, Numbers) else reference
    actual = _binned(histogram.edges, present)
    found = _by_psi(
        FeatureKind.NUMERIC,
        [*histogram.counts, histogram.missing],
        [*actual, missing],
        known=histogram.known,
        n=len(values),
    )
    if not present:
        return found
    if isinstance(reference, Numbers):
        distance, known = ks(reference.values, present), float(len(reference.values))
    else:
        distance, known = _ks_of_bins(histogram, actual), histogram.known
    evidence = math.sqrt(_effective(known, len(present))) * distance
    return replace(found, ks=distance, ks_p=float(kolmogorov(evidence)))


def _histogram(numbers: Numbers) -> Histogram:
    """Return bins by quantiles, each with about as many values; values that repeat often make fewer bins."""
    quantiles = np.quantile(numbers.values, [each / BINS for each in range(1, BINS)], method="inverted_cdf")
    edges = tuple(sorted({float(each) for each in quantiles}))
    known = len(numbers.values) + numbers.missing
    return Histogram(edges, _binned(edges, numbers.values), known, numbers.missing)


def _binned(edges: Sequence[float], values: Sequence[float]) -> tuple[float, ...]:
    where = np.searchsorted(edges, values, side="left")
    return tuple(float(each) for each in np.bincount(where, minlength=len(edges) + 1))


def _ks_of_bins(histogram: Histogram, actual: Sequence[float]) -> float:
    """Return the statistic at the bins' edges, so it is never larger than the true one."""
    first, second = (np.cumsum(each) / np.sum(each) for each in (histogram.counts, actual))
    return float(np.max(np.abs(first - second)))


def _categorical(reference: Categories, values: Sequence[Any]) -> FeatureDrift:
    """Compare categories: each is a bin, and so are the rare ones together, the new ones, and the missing values."""
    seen = Counter(text_of(each) for each in values if each is not None)
    rare = sum(count for name, count in seen.items() if name in reference.rare)
    common = [seen.get(name, 0) for name in reference.counts]
    missing = sum(each is None for each in values)
    new = len(values) - missing - sum(common) - rare
    expected = [*reference.counts.values(), reference.rest, 0, reference.missing]
    return _by_psi(
        FeatureKind.CATEGORICAL, expected, [*common, rare, new, missing], known=reference.known, n=len(values)
    )


def _by_psi(
    kind: FeatureKind, expected: Sequence[float], actual: Sequence[float], *, known: float, n: int
) -> FeatureDrift:
    """Compare by PSI (population stability index) over the bins that either side has.

    By chance, its product with the effective number of values is chi-squared with one degree of freedom less than bins
    (Yurdakul and Naranjo, J. Risk Model Validation 2020).
    """
    scale = known / sum(expected) if math.isfinite(known) else 1.0
    bins = [(p * scale, q) for p, q in zip(expected, actual, strict=True) if p or q]
    if not n or len(bins) < 2:
        return FeatureDrift(kind, n, 0.0, 1.0)
    distance = psi([p for p, _ in bins], [q for _, q in bins])
    return FeatureDrift(kind, n, distance, float(chdtrc(len(bins) - 1, _effective(known, n) * distance)))


def _effective(known: float, n: int) -> float:
    return n if not math.isfinite(known) else known * n / (known + n)
