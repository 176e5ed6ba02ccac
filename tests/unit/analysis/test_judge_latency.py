"""The judge of latency: a burst on one arm is none of its business, a candidate that stays slower is."""

import random
from dataclasses import replace

import pytest

from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, Observation, Source
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import Outcome, Reason, Verdict

pytestmark = pytest.mark.slow

LATENCY = Metric("latency", Source.LATENCY, JudgeName.QUANTILE, threshold=1.5, samples=50)
POLICY = AnalysisPolicy((LATENCY,), promote_early=True, sample_ratio=False)


def answers(draw: random.Random, number: int, *, ms: float) -> Counts:
    """As many, of a log-normal distribution with this median, in buckets a tenth apart."""
    latency: dict[str, int] = {}
    for _ in range(number):
        microseconds = draw.lognormvariate(0, 0.7) * ms * 1000
        bound = f"{float(f'{microseconds:.1e}'):g}"
        latency[bound] = latency.get(bound, 0) + 1
    return Counts(completed=number, latency=latency)


class Rollout:
    """Looks a second apart, at what a test says came between them."""

    def __init__(
        self, policy: AnalysisPolicy = POLICY, *, weight: int = TOTAL_WEIGHT // 2, reference: Counts | None = None
    ) -> None:
        self.draw = random.Random(1)
        self.judging = StepJudging(policy, weight=weight, reference=reference, prior_evidence={})
        self.candidate, self.stable, self.at = Counts(), Counts(), 0.0

    def second(self, candidate: Counts, stable: Counts) -> Verdict:
        self.candidate += candidate
        self.stable += stable
        self.at += 1
        self.judging.add(Observation(self.at, self.candidate, self.stable))
        return self.judging.verdict()

    def seconds(self, number: int, *, each: int = 20, candidate_ms: float = 5, stable_ms: float = 5) -> Verdict:
        """Until harm, or as many."""
        for _ in range(number):
            stable = answers(self.draw, each, ms=stable_ms) if stable_ms else Counts()
            verdict = self.second(answers(self.draw, each, ms=candidate_ms), stable)
            if verdict.outcome is Outcome.HARM:
                break
        return verdict


def test_a_burst_on_one_arm_is_no_harm_and_no_pass_until_it_is_outweighed() -> None:
    rollout = Rollout()
    verdict = rollout.seconds(3, each=44, candidate_ms=200, stable_ms=2)
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict.message
    assert verdict.metrics[0].numbers["ratio"] > 50
    assert rollout.seconds(10, each=44, candidate_ms=2, stable_ms=2).outcome is Outcome.PASS


def test_what_stays_twice_as_slow_is_caught_within_a_thousand_requests() -> None:
    rollout = Rollout()
    verdict = rollout.seconds(50, candidate_ms=20, stable_ms=10)
    assert (verdict.outcome, verdict.reason) == (Outcome.HARM, Reason.LATENCY), verdict.message
    assert rollout.candidate.completed <= 1_000


@pytest.mark.parametrize(("floor_ms", "outcome"), [(5, Outcome.PASS), (1, Outcome.HARM)])
def test_a_few_milliseconds_are_harm_only_where_somebody_says_so(floor_ms: float, outcome: Outcome) -> None:
    """A good version's replica that waits for a core of a busy host took 8.5 ms in the median, over 4.6."""
    policy = replace(POLICY, metrics=(replace(LATENCY, floor_ms=floor_ms),))
    assert Rollout(policy).seconds(100, candidate_ms=8.5, stable_ms=4.6).outcome is outcome


def test_evidence_without_excess_is_no_harm() -> None:
    verdict = Rollout().seconds(120, candidate_ms=6.8)
    assert verdict.metrics[0].log_evidence > 5
    assert verdict.outcome is Outcome.PASS, verdict.message


@pytest.mark.parametrize(("candidate_ms", "outcome"), [(20, Outcome.INCONCLUSIVE), (10, Outcome.PASS)])
def test_at_full_weight_what_the_stable_did_before_is_no_harm(candidate_ms: float, outcome: Outcome) -> None:
    rollout = Rollout(weight=TOTAL_WEIGHT, reference=answers(random.Random(2), 2_000, ms=10))
    assert rollout.seconds(50, candidate_ms=candidate_ms, stable_ms=0).outcome is outcome


def test_load_that_both_arms_feel_is_no_harm() -> None:
    rollout = Rollout()
    for second in range(300):
        ms = 5 * (1 + 20 * (second // 10 % 3 == 0))
        verdict = rollout.seconds(1, candidate_ms=ms, stable_ms=ms)
        assert verdict.outcome is not Outcome.HARM, verdict.message


def test_a_candidate_that_answers_seldom_is_still_compared() -> None:
    rollout = Rollout(weight=500)
    for second in range(1_500):
        candidate = answers(rollout.draw, int(second % 5 == 0), ms=20)
        verdict = rollout.second(candidate, answers(rollout.draw, 4, ms=5))
        if verdict.outcome is Outcome.HARM:
            break
    assert verdict.reason is Reason.LATENCY, verdict.message


def test_a_good_candidate_is_promoted_early_once_both_quantiles_are_known() -> None:
    rollout = Rollout()
    assert not rollout.seconds(3).early
    assert rollout.seconds(200).early
