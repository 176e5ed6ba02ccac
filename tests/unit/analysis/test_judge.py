"""Evidence and judge: formulas against independent computation, verdicts on literal counts."""

import math
import random
from dataclasses import replace

import pytest
from scipy.integrate import quad

from hotswap.analysis.evidence import log_evidence
from hotswap.analysis.figures import quantile_ms
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, NoVerdict, Observation, Source
from hotswap.domain.baking import is_decided
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import Outcome, Reason, Verdict
from hotswap.schemas.strategy import CanaryConfig


@pytest.mark.parametrize(("hits", "misses", "share"), [(3, 2, 0.1), (0, 5, 0.5), (12, 40, 0.25), (1, 0, 0.9)])
def test_evidence_is_the_mean_likelihood_ratio_above_the_share(hits: int, misses: int, share: float) -> None:
    null = share**hits * (1 - share) ** misses
    mass, _ = quad(lambda p: p**hits * (1 - p) ** misses / null, share, 1)
    assert log_evidence(hits, misses, share=share) == pytest.approx(math.log(mass / (1 - share)), rel=1e-6)


def test_evidence_stays_finite_far_from_the_null() -> None:
    assert -50 < log_evidence(0, 1_000_000, share=0.5) < 0


@pytest.mark.slow
def test_good_candidates_are_seldom_harmed_however_often_one_looks() -> None:
    draw = random.Random(7)
    alarms = 0
    for _ in range(300):
        hits = misses = 0
        for _ in range(200):
            if draw.random() < 0.1:
                hits += 1
            else:
                misses += 1
            if log_evidence(hits, misses, share=0.1) >= math.log(100):
                alarms += 1
                break
    assert alarms <= 9  # 1% is promised; 9 of 300 has a probability below 1 in 500 then


def counts(requests: int, errors: int = 0, *, ms: float = 5.0) -> Counts:
    return Counts(completed=requests, server_errors=errors, latency={f"{ms * 1000:g}": requests})


def verdict(candidate: Counts, stable: Counts, *, weight: int = 5_000, reference: Counts | None = None) -> Verdict:
    policy = replace(CanaryConfig().analysis_policy(), sample_ratio=False)
    judging = StepJudging(policy, weight=weight, reference=reference, prior_evidence={})
    judging.add(Observation(1.0, candidate, stable))
    return judging.verdict()


@pytest.mark.parametrize(
    ("candidate", "stable", "outcome", "reason"),
    [
        (counts(100), counts(100), Outcome.PASS, None),
        (counts(49), counts(1000), Outcome.INSUFFICIENT_DATA, None),
        (counts(1000), counts(0), Outcome.INSUFFICIENT_DATA, None),
        (counts(0), counts(0), Outcome.INSUFFICIENT_DATA, None),
        (counts(100, 30), counts(100), Outcome.HARM, Reason.ERROR_RATE),
        (counts(20, 12), counts(20), Outcome.HARM, Reason.ERROR_RATE),  # harm needs no minimum
        (counts(100, 2), counts(100), Outcome.INCONCLUSIVE, None),  # two errors are no evidence, and no pass
        (counts(250, 2), counts(250), Outcome.PASS, None),  # 0.8% is below the threshold
        (counts(100_000, 400), counts(100_000, 100), Outcome.PASS, None),  # evidence, but 0.3% is below the threshold
        (counts(100, 30), counts(100, 30), Outcome.PASS, None),  # both fail alike
        (counts(1000, 960), counts(1000, 960), Outcome.INSUFFICIENT_DATA, None),  # an outage says nothing of either
        (counts(100, ms=20), counts(100, ms=5), Outcome.INCONCLUSIVE, None),  # one look is a burst, however slow
        (counts(100, ms=0.4), counts(100, ms=0.1), Outcome.PASS, None),  # below the floor
        (counts(100, ms=7), counts(100, ms=5), Outcome.PASS, None),  # below the ratio
    ],
)
def test_verdicts(candidate: Counts, stable: Counts, outcome: Outcome, reason: Reason | None) -> None:
    said = verdict(candidate, stable)
    assert (said.outcome, said.reason) == (outcome, reason), said.message


def test_at_100_percent_the_earlier_stable_is_the_measure() -> None:
    earlier = counts(500, 1)
    assert verdict(counts(200, 1), counts(0), weight=10_000, reference=earlier).outcome is Outcome.PASS
    worse = verdict(counts(200, 40), counts(0), weight=10_000, reference=earlier)
    assert (worse.outcome, worse.action) == (Outcome.INCONCLUSIVE, NoVerdict.HOLD)
    assert "of another time" in worse.message
    assert verdict(counts(200), counts(0), weight=10_000, reference=counts(3)).outcome is Outcome.INSUFFICIENT_DATA


@pytest.mark.parametrize(
    ("said", "action", "extends"),
    [
        (NoVerdict.EXTEND, NoVerdict.HOLD, True),
        (NoVerdict.HOLD, NoVerdict.HOLD, False),
        (NoVerdict.ROLLBACK, NoVerdict.ROLLBACK, False),
    ],
)
@pytest.mark.parametrize(
    ("metric", "candidate"),
    [
        (Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=0.01), counts(1_000, 20)),
        (
            Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=0.01),
            replace(counts(1_000, 20), fell_back=20, rescued_errors=20),
        ),
        (Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5), counts(1_000, ms=20)),
    ],
)
def test_an_excess_over_another_time_is_held_by_the_deadline_unless_the_metric_says_otherwise(
    metric: Metric, candidate: Counts, said: NoVerdict, action: NoVerdict, extends: bool
) -> None:
    """A minute may be a bad one of the world: what has until its deadline to pass is not held at the bake's end."""
    policy = AnalysisPolicy((replace(metric, on_no_verdict=said),))
    judging = StepJudging(policy, weight=10_000, reference=counts(1_000), prior_evidence={})
    judging.add(Observation(1, candidate, counts(0)))
    worse = judging.verdict()
    assert (worse.outcome, worse.action, worse.extends) == (Outcome.INCONCLUSIVE, action, extends), worse.message
    for at, is_over in ((59, False), (60, not extends), (179, not extends), (180, True)):
        assert is_decided(worse, at=at, until=60, deadline=180, promotes_early=False) is is_over


def test_a_hold_that_a_metric_asks_for_waits_for_no_other_metrics_deadline() -> None:
    at_once = Metric("cpu", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5, on_no_verdict=NoVerdict.HOLD)
    later = Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5)
    for metrics in ((at_once, later), (later, at_once)):
        judging = StepJudging(AnalysisPolicy(metrics), weight=10_000, reference=counts(1_000), prior_evidence={})
        judging.add(Observation(1, counts(1_000, ms=20), counts(0)))
        assert (judging.verdict().action, judging.verdict().extends) == (NoVerdict.HOLD, False)


def test_quantiles_of_buckets() -> None:
    assert quantile_ms(Counts(latency={"900": 50, "10000": 50}), 0.5) == 0.9
    assert quantile_ms(Counts(latency={"900": 50, "10000": 50}), 0.95) == 10
    assert quantile_ms(Counts(), 0.5) is None
