"""The evidence of lumps, where the values of an arm come late, seldom, or all at once."""

import math

import numpy as np
import pytest

from hotswap.analysis.betting import Betting

pytestmark = pytest.mark.slow

ALPHA = 0.002


def looks_until_seen(before: list[tuple[int, int]]) -> int:
    """How many looks it takes to see an arm of 2% good beside one of 98%, at twenty values of each a look.

    `before` is how many values of the candidate and of the stable each earlier look brought, all of them good.
    """
    betting = Betting(1)
    for counts in before:
        betting.add(np.zeros((2, 1)), np.array(counts, dtype=float))
    for look in range(1, 1_000):
        betting.add(np.array([[19.6], [0.4]]), np.array([20.0, 20.0]))
        if betting.log_evidence >= -math.log(ALPHA):
            return look
    pytest.fail(f"not seen: {betting.log_evidence}")


@pytest.mark.parametrize(
    "before",
    [
        pytest.param([(0, 0)] * 100, id="nothing yet"),
        pytest.param([(0, 5)] * 100, id="nothing of the candidate yet"),
        pytest.param([(0, 5)] * 20 + [(5, 5)] + [(0, 0)] * 100, id="nothing for a while"),
    ],
)
def test_values_that_come_late_are_no_less_evidence(before: list[tuple[int, int]]) -> None:
    assert looks_until_seen(before) <= looks_until_seen([]) + 2 <= 14


def test_no_evidence_comes_of_when_values_come() -> None:
    """Arms that don't differ, a load that both feel, and values that come late, seldom and in bursts: 2,000 runs."""
    draw, runs, alpha = np.random.default_rng(11), 2_000, 0.05
    betting, worst = Betting(1, runs=(runs,)), np.zeros(runs)
    for at in range(300):
        rate = np.array([0.3 if at > 40 else 0.0, 0.5]) * np.where(draw.random((runs, 1)) < 0.1, 8.0, 0.4)
        counts = draw.poisson(rate).astype(float)
        bad = draw.binomial(counts.astype(int), draw.beta(1, 4, (runs, 1))).astype(float)
        betting.add(bad[..., None], counts)
        worst = np.maximum(worst, betting.log_evidence)
    assert worst.max() > 1, "something was bet"
    assert np.mean(worst >= -math.log(alpha)) <= alpha
