"""The evidence of means whose values count each by itself: soon where they differ, fair where they don't."""

import math

import numpy as np
import pytest

from hotswap.analysis.concentration import Concentration
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, Moments, Observation, Reading, Source, Worse
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import Outcome
from hotswap.schemas.strategy import CanaryConfig

CONFIDENCE = Metric("confidence", Source.CONFIDENCE, JudgeName.MEAN, threshold=0.05, worse=Worse.LOWER)


@pytest.mark.parametrize("each", [5, 20, 100], ids=["twenty readings", "five readings", "one reading"])
def test_confidence_that_is_gone_is_seen_within_a_hundred_requests_of_an_arm(each: int) -> None:
    policy = AnalysisPolicy((CONFIDENCE,), alpha=0.002)
    judging = StepJudging(policy, weight=5_000, reference=None, prior_evidence={})
    draw = np.random.default_rng(3)
    sums = [0.0, 0.0]
    for number in range(each, 101, each):
        sums = [sums[0] + 0.5 * each, sums[1] + float(draw.beta(8.8, 1.2, each).sum())]
        reading = Reading(float(number), Moments(number, sums[0]), Moments(number, sums[1]))
        counts = Counts(completed=number)
        judging.add(Observation(float(number), counts, counts, {"confidence": reading}))
    verdict = judging.verdict()
    assert verdict.outcome is Outcome.HARM, verdict.message


def test_equal_means_that_wander_together_are_seldom_taken_for_different_ones() -> None:
    draw, runs, alpha = np.random.default_rng(5), 1_000, 0.05
    bet, worst = Concentration(runs=(runs,)), np.zeros(runs)
    for at in range(120):
        mean = 0.5 + 0.45 * np.sin(at / 7 + draw.random((runs, 1)) / 10)
        counts = draw.poisson([0.5, 4.5], (runs, 2))
        hits = draw.binomial(counts, mean).astype(float)  # of all bounded values those of 0 and 1 vary the most
        bet.add(hits[..., None], counts.astype(float))
        worst = np.maximum(worst, bet.log_evidence)
    assert worst.max() > 1, "something was bet"
    assert np.mean(worst >= -math.log(alpha)) <= alpha


def test_a_slow_tail_is_harm_by_default_though_the_medians_are_alike() -> None:
    policy = CanaryConfig().analysis_policy()
    judging = StepJudging(policy, weight=5_000, reference=None, prior_evidence={})
    draw = np.random.default_rng(9)
    candidate = stable = Counts()
    for at in range(1, 301):
        slow = int(draw.binomial(20, 0.08))
        candidate += Counts(completed=20, latency={"5000": 20 - slow, "150000": slow})
        stable += Counts(completed=20, latency={"5000": 20})
        judging.add(Observation(float(at), candidate, stable))
        if at % 20 == 0 and judging.verdict().outcome is Outcome.HARM:
            break
    verdict = judging.verdict()
    assert verdict.outcome is Outcome.HARM, verdict.message
    assert "p95" in verdict.message
