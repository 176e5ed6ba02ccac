"""Latencies as a DDSketch: any quantile to within 1%, from bins that are only added up.

A sketch is kept as its bins, by index as text (a key of JSON): two of them are merged by adding, which PostgreSQL does
by itself, so that no writer has to read before it writes. The bins' bounds are the library's (Masson, Rim & Lee, VLDB
2019, arXiv 1908.10693).
"""

import math
from collections.abc import Mapping

from ddsketch import DDSketch
from ddsketch.mapping import LogarithmicMapping

RELATIVE_ERROR = 0.01
ZERO = "zero"
"""The bin for latencies too short to measure: a logarithm has no bin for them."""

_mapping = LogarithmicMapping(RELATIVE_ERROR)


def bin_of(value: float) -> str | None:
    """Return the bin that counts it; None for a value that is no duration."""
    if not math.isfinite(value) or value < 0:
        return None
    return str(_mapping.key(value)) if value > _mapping.min_possible else ZERO


def quantiles(bins: Mapping[str, int], *wanted: float) -> list[float | None]:
    """Return each of these quantiles (0 to 1); None where nothing was counted."""
    sketch = DDSketch(RELATIVE_ERROR)
    for name, count in bins.items():
        sketch.add(0.0 if name == ZERO else _mapping.value(int(name)), weight=count)
    return [sketch.get_quantile_value(quantile) for quantile in wanted]
