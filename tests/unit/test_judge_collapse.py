"""The judge of collapse: answers that have become alike hold a rollout, those that are better in some cases don't."""

import math
import random
from collections import Counter

import pytest

from hotswap.analysis.judge import Judging
from hotswap.domain.analysis import Look, NoVerdict, Reading, Source
from hotswap.domain.traffic import FULL, Counts
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import CanaryConfig

POLICY = CanaryConfig().analysis_policy()
GOOD = Counts(completed=100, latency={"5000": 100})


def judged(
    mine: dict[str, list[str]], theirs: dict[str, list[str]], *, weight: int = FULL // 2, callers: bool = False
) -> Verdict:
    shares = [{name: dict(Counter(values)) for name, values in arm.items()} for arm in (mine, theirs)]
    reading = Reading(1.0, candidate_shares=shares[0], stable_shares=shares[1], has_callers=callers)
    judging = Judging(POLICY, weight=weight, reference=GOOD if weight == FULL else None, prior_evidence={})
    judging.add(Look(1.0, GOOD, GOOD, {"predictions": reading}))
    return judging.verdict(is_over=True)


def drawn(seed: int, number: int, weights: dict[str, float]) -> list[str]:
    return random.Random(seed).choices(list(weights), list(weights.values()), k=number)


SPREAD = {"a": 0.6, "b": 0.4}
SURE = {"19": 0.5, "18": 0.3, "17": 0.2}


@pytest.mark.parametrize(
    ("mine", "theirs", "holds"),
    [
        pytest.param({"answer": ["a"] * 100}, {"answer": drawn(1, 100, SPREAD)}, True, id="one label for everybody"),
        pytest.param({"answer": ["null"] * 100}, {"answer": drawn(1, 100, SPREAD)}, True, id="no number at all"),
        pytest.param({"confidence class": ["10"] * 100}, {"confidence class": drawn(2, 100, SURE)}, True, id="unsure"),
        pytest.param(
            {"answer": drawn(3, 200, {"a": 0.1, "b": 0.9})},
            {"answer": drawn(4, 200, {"a": 0.9, "b": 0.1})},
            True,
            id="labels exchanged",
        ),
        pytest.param(
            {"size class": ["5"] * 100}, {"size class": drawn(5, 100, dict.fromkeys("12345", 1.0))}, True, id="5"
        ),
        pytest.param({"answer": drawn(6, 100, SPREAD)}, {"answer": drawn(7, 100, SPREAD)}, False, id="alike"),
        pytest.param(
            {"answer": drawn(8, 400, {"a": 0.7, "b": 0.3})},
            {"answer": drawn(9, 400, {"a": 0.55, "b": 0.45})},
            False,
            id="right but different",
        ),
        pytest.param(
            {"answer": [str(each) for each in range(100)]},
            {"answer": [str(-each) for each in range(100)]},
            False,
            id="each answer another",
        ),
        pytest.param({"answer": ["a"] * 20}, {"answer": drawn(1, 100, SPREAD)}, False, id="too few"),
        pytest.param({}, {}, False, id="nothing to compare"),
    ],
)
def test_answers_that_have_collapsed_hold_the_rollout_and_roll_nothing_back(
    mine: dict[str, list[str]], theirs: dict[str, list[str]], holds: bool
) -> None:
    verdict = judged(mine, theirs)
    if holds:
        assert (verdict.outcome, verdict.action) == (Outcome.INCONCLUSIVE, NoVerdict.HOLD), verdict.message
        assert "collapsed" in verdict.message
    else:
        assert verdict.outcome is Outcome.PASS, verdict.message


def test_few_callers_and_another_time_are_no_collapse() -> None:
    many = {"answer": drawn(1, 100, SPREAD)}
    assert judged({"answer": ["a"] * 100}, many, weight=FULL).outcome is Outcome.PASS
    few = {"answer": ["a"] * 60}
    assert judged(few, many, callers=True).outcome is Outcome.INCONCLUSIVE, "sixty callers are enough"


def test_versions_that_answer_alike_are_seldom_held_however_often_one_looks() -> None:
    """No excess is asked for, so that only the evidence keeps them; a distribution of ten labels, at a tenth."""
    alpha, runs, held = 0.05, 40, 0
    policy = CanaryConfig.model_validate(
        {"analysis": {"alpha": alpha, "metrics": [{"name": "p", "source": "answers", "threshold": 0, "samples": 1}]}}
    ).analysis_policy()
    assert policy.metrics[0].source is Source.ANSWERS
    for seed in range(runs):
        draw, arms = random.Random(seed), (Counter[str](), Counter[str]())
        judging = Judging(policy, weight=1_000, reference=None, prior_evidence={})
        for at in range(1, 7):
            for _ in range(60):
                arms[draw.random() >= 0.1][str(math.floor(draw.random() ** 2 * 10))] += 1
            reading = Reading(
                float(at), candidate_shares={"answer": dict(arms[0])}, stable_shares={"answer": dict(arms[1])}
            )
            judging.add(Look(float(at), GOOD, GOOD, {"p": reading}))
            if judging.verdict().outcome is Outcome.HARM:
                held += 1
                break
    assert held <= alpha * runs
