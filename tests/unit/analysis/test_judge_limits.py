"""A model's first version is judged by its own limits: no stable, and nothing else, is beside it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, Entities, JudgeName, Observation, Source
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import Outcome, Reason, Verdict
from hotswap.schemas.strategy import CanaryConfig

POLICY = CanaryConfig().first_policy()
FAST, SLOW = "5000", "9000000"
"""Upper bounds of buckets, in microseconds: below the limit of 5 s and above it."""


def judged(candidate: Counts, *, policy: AnalysisPolicy = POLICY, entities: Entities | None = None) -> Verdict:
    judging = StepJudging(policy, weight=TOTAL_WEIGHT, reference=None, prior_evidence={})
    judging.add(Observation(1.0, candidate, Counts(), entities=entities))
    return judging.verdict(is_over=True)


def answered(completed: int, *, failed: int = 0, refused: int = 0, slow: int = 0) -> Counts:
    latency = {FAST: completed - slow, SLOW: slow}
    return Counts(completed, server_errors=failed, client_errors=refused, latency=latency)


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [
        pytest.param(answered(500), Outcome.PASS, id="all well"),
        pytest.param(answered(500, failed=20), Outcome.PASS, id="below the limit"),
        pytest.param(answered(500, failed=60), Outcome.HARM, id="fails"),
        pytest.param(answered(12, failed=12), Outcome.HARM, id="fails all of a few"),
        pytest.param(answered(60, failed=4), Outcome.INCONCLUSIVE, id="above, which may be chance"),
        pytest.param(answered(500, refused=200), Outcome.PASS, id="clients make mistakes"),
        pytest.param(answered(500, refused=400), Outcome.HARM, id="refuses nearly all"),
        pytest.param(answered(500, slow=20), Outcome.PASS, id="its p95 is within"),
        pytest.param(answered(500, slow=60), Outcome.HARM, id="its p95 is above"),
        pytest.param(answered(0), Outcome.INSUFFICIENT_DATA, id="nobody asked"),
        pytest.param(answered(49), Outcome.INSUFFICIENT_DATA, id="few asked"),
    ],
)
def test_a_share_over_its_limit_is_harm_by_evidence_alone(counts: Counts, outcome: Outcome) -> None:
    verdict = judged(counts)
    assert verdict.outcome is outcome, verdict.message
    assert verdict.reason is (Reason.LIMIT if outcome is Outcome.HARM else None)


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from(["failed", "refused", "slow"]))
@settings(max_examples=60, deadline=None)
def test_more_failures_never_undo_a_breach(good: int, wrong: int, what: str) -> None:
    order = (Outcome.PASS, Outcome.INSUFFICIENT_DATA, Outcome.INCONCLUSIVE, Outcome.HARM)
    less, more = (judged(answered(good + wrong, **{what: number})).outcome for number in (wrong // 2, wrong))
    assert order.index(more) >= order.index(less)


def test_one_caller_however_loud_is_no_breach() -> None:
    loud = Counts(400, server_errors=300, sticky=400, sticky_errors=300, latency={FAST: 400})
    assert judged(loud).outcome is not Outcome.HARM, "nobody has counted the callers yet"
    one = Entities(candidate=1, candidate_failed=1, candidate_latency={FAST: 1.0})
    assert judged(loud, entities=one).outcome is not Outcome.HARM
    many = Entities(candidate=30, candidate_failed=20, candidate_latency={FAST: 30.0})
    assert judged(loud, entities=many).outcome is Outcome.HARM


def test_the_limits_are_those_of_the_config() -> None:
    config = CanaryConfig.model_validate(
        {"minimumRequests": 7, "firstVersion": {"maxFailures": 0.2, "maxRefusals": 0.01, "maxLatency": "PT0.001S"}}
    )
    metrics = {each.name: each for each in config.first_policy().metrics}
    assert {each.judge for each in metrics.values()} == {JudgeName.LIMIT}
    assert [metrics[name].threshold for name in ("errors", "refusals", "latency")] == [0.2, 0.01, 0.05]
    assert (metrics["latency"].maximum, metrics["errors"].samples) == (1.0, 7)


def test_metrics_that_compare_nothing_are_judged_as_well() -> None:
    metrics = [
        {"name": "errors", "source": "errors"},
        {"name": "latency", "source": "latency", "judge": "threshold", "max": 100},
        {"name": "ratio", "source": "latency", "judge": "threshold", "relative": True, "max": 2},
        {"name": "gate", "source": "webhook", "webhook": "fairness"},
        {"name": "drift", "source": "drift", "max": 0.3},
    ]
    policy = CanaryConfig.model_validate({"analysis": {"metrics": metrics}}).first_policy()
    assert [(each.name, each.judge) for each in policy.metrics] == [
        ("errors", JudgeName.LIMIT),
        ("refusals", JudgeName.LIMIT),
        ("latency", JudgeName.THRESHOLD),
        ("gate", JudgeName.THRESHOLD),
    ]
    assert {each.source for each in policy.metrics} == {
        Source.ERRORS,
        Source.REFUSALS,
        Source.LATENCY,
        Source.WEBHOOK,
    }
