"""The judges at 100%, where nothing runs beside the candidate."""

import math
import random

import pytest

from hotswap.analysis.errors import rate_within
from hotswap.analysis.evidence import log_evidence
from hotswap.analysis.family import ALWAYS_VALID, alpha_of
from hotswap.analysis.judge import Judging
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Look, Metric, Source
from hotswap.domain.traffic import FULL, Counts
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import CanaryConfig

ERRORS = Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=0.01, samples=1)
EARLIER = Counts(completed=10_000, latency={"1000": 10_000})


def judged(candidate: Counts, policy: AnalysisPolicy) -> Verdict:
    judging = Judging(policy, weight=FULL, reference=EARLIER, prior_evidence={})
    judging.add(Look(1.0, candidate, Counts()))
    return judging.verdict()


def test_errors_and_the_bound_that_they_rest_on_spend_alpha_once() -> None:
    """A bet that is won at `alpha`, over a bound that is wrong at another tenth of it, errs more often than it says."""
    alpha = 0.01

    def bet(failed: int, rescued: int) -> float:
        least, _ = rate_within(failed, 1_000 - failed, alpha=alpha / 10)
        return float(log_evidence(rescued, failed - rescued, share=1 - (least - 0.01))) if least > 0.01 else 0.0

    needed = -math.log(alpha)
    tight = [
        Counts(completed=1_000, server_errors=failed, rescued_errors=rescued)
        for failed in range(50, 400, 10)
        for rescued in range(failed // 2, failed)
        if needed <= bet(failed, rescued) < needed - math.log(0.9)
    ]
    assert tight
    for counts in tight:
        assert judged(counts, AnalysisPolicy((ERRORS,), alpha)).outcome is Outcome.INCONCLUSIVE, counts
    plain = Counts(completed=1_000, server_errors=300, rescued_errors=300)
    assert judged(plain, AnalysisPolicy((ERRORS,), alpha)).outcome is Outcome.HARM


@pytest.mark.parametrize("config", [{}, {"analysis": {"alpha": 0.05}}, {"rollbackThresholds": {"accuracyDrop": 0.1}}])
def test_all_judges_together_spend_alpha_once(config: dict[str, object]) -> None:
    policy = CanaryConfig.model_validate(config).analysis_policy()
    spent = [alpha_of(each, policy) for each in policy.metrics if each.rolls_back and each.judge in ALWAYS_VALID]
    assert sum(spent) == pytest.approx(policy.alpha)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_a_candidate_that_fails_as_the_stable_does_is_seldom_harmed_at_full_weight(rate: float) -> None:
    draw, alarms = random.Random(3), 0
    policy = AnalysisPolicy((ERRORS,), 0.1)
    for _ in range(100):
        completed = failed = rescued = 0
        judging = Judging(policy, weight=FULL, reference=EARLIER, prior_evidence={})
        for second in range(20):
            for _ in range(20):
                completed += 1
                if draw.random() < rate:
                    failed += 1
                    rescued += draw.random() >= rate
            judging.add(Look(second + 1.0, Counts(completed, failed, rescued_errors=rescued), Counts()))
            if judging.verdict().outcome is Outcome.HARM:
                alarms += 1
                break
    assert alarms <= 19  # a tenth is promised; 20 of 100 has a probability below 1 in 500 then
