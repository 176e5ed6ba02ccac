"""The judge of collapse: answers that have become alike hold a rollout, those that are better in some cases don't."""

import math
import random
from collections import Counter

import pytest

from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, NoVerdict, Observation, Reading, Source
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.schemas.strategy import CanaryConfig

POLICY = CanaryConfig().analysis_policy()
GOOD = Counts(completed=100, latency={"5000": 100})


def shares(arm: dict[str, list[str]]) -> dict[str, dict[str, float]]:
    return {name: {value: float(number) for value, number in Counter(values).items()} for name, values in arm.items()}


def judged(
    mine: dict[str, list[str]],
    theirs: dict[str, list[str]],
    *,
    weight: int = TOTAL_WEIGHT // 2,
    callers: bool = False,
    policy: AnalysisPolicy = POLICY,
) -> Verdict:
    reading = Reading(1.0, candidate_shares=shares(mine), stable_shares=shares(theirs), has_callers=callers)
    judging = StepJudging(policy, weight=weight, reference=GOOD if weight == TOTAL_WEIGHT else None, prior_evidence={})
    judging.add(Observation(1.0, GOOD, GOOD, {"predictions": reading}))
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
        pytest.param(
            {"answer": drawn(12, 450, {"approve": 0.3, "review": 0.5, "decline": 0.15, "refer": 0.05})},
            {"answer": drawn(13, 450, {"approve": 0.5, "review": 0.3, "decline": 0.15, "refer": 0.05})},
            True,
            id="one label instead of another for a fifth",
        ),
        pytest.param({"answer": drawn(6, 100, SPREAD)}, {"answer": drawn(7, 100, SPREAD)}, False, id="alike"),
        pytest.param(
            {"answer": drawn(8, 4_000, {"a": 0.67, "b": 0.33})},
            {"answer": drawn(9, 4_000, {"a": 0.6, "b": 0.4})},
            False,
            id="right but different",
        ),
        pytest.param(
            {"confidence class": drawn(14, 4_000, {"19": 0.4, "18": 0.6})},
            {"confidence class": drawn(15, 4_000, {"19": 0.2, "18": 0.8})},
            False,
            id="a little surer",
        ),
        pytest.param(
            {"answer": drawn(16, 4_000, {"0": 0.3} | {str(each): 1 / 30 for each in range(1, 22)})},
            {"answer": drawn(17, 4_000, {str(each): 1 / 22 for each in range(22)})},
            False,
            id="more answers than labels are",
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
    assert judged({"answer": ["a"] * 100}, many, weight=TOTAL_WEIGHT).outcome is Outcome.PASS
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
        judging = StepJudging(policy, weight=1_000, reference=None, prior_evidence={})
        for at in range(1, 7):
            for _ in range(60):
                arms[draw.random() >= 0.1][str(math.floor(draw.random() ** 2 * 10))] += 1
            reading = Reading(
                float(at), candidate_shares={"answer": dict(arms[0])}, stable_shares={"answer": dict(arms[1])}
            )
            judging.add(Observation(float(at), GOOD, GOOD, {"p": reading}))
            if judging.verdict().outcome is Outcome.HARM:
                held += 1
                break
    assert held <= alpha * runs


def test_what_a_step_has_shown_of_one_distribution_is_no_evidence_of_another() -> None:
    """A candidate that is surer shows that plainly, and its labels are no others for it."""
    both = {
        weight: (
            {"answer": drawn(20, number, SPREAD), "confidence class": ["19"] * number},
            {"answer": drawn(21, 800 - number, SPREAD), "confidence class": drawn(22, 800 - number, SURE)},
        )
        for weight, number in ((1_000, 80), (5_000, 400))
    }

    def step(weight: int, prior: dict[str, float], *, callers: bool = False) -> Verdict:
        mine, theirs = both[weight]
        reading = Reading(1.0, candidate_shares=shares(mine), stable_shares=shares(theirs), has_callers=callers)
        judging = StepJudging(POLICY, weight=weight, reference=None, prior_evidence=prior)
        judging.add(Observation(1.0, GOOD, GOOD, {"predictions": reading}))
        return judging.verdict(is_over=True)

    first = step(1_000, {}).evidence
    assert first["predictions.confidence class"] > 7 > 0 > first["predictions.answer"]
    second = step(5_000, first)
    assert second.evidence["predictions.answer"] < 1
    assert second.evidence["predictions.confidence class"] > first["predictions.confidence class"]
    # Callers of the step before are the same ones still, and say nothing anew.
    of_callers = step(5_000, first, callers=True).evidence
    assert of_callers["predictions.confidence class"] == pytest.approx(
        second.evidence["predictions.confidence class"] - first["predictions.confidence class"]
    )


@pytest.mark.parametrize(
    ("said", "holds"),
    [({}, True), ({"labelShift": 0.3}, False), ({"collapse": 1, "labelShift": 1}, False)],
)
def test_how_far_labels_may_shift_can_be_said(said: dict[str, float], holds: bool) -> None:
    policy = CanaryConfig.model_validate({"rollbackThresholds": said}).analysis_policy()
    verdict = judged(
        {"answer": drawn(30, 900, {"a": 0.8, "b": 0.2})}, {"answer": drawn(31, 900, SPREAD)}, policy=policy
    )
    assert (verdict.outcome is not Outcome.PASS) is holds


def test_a_metric_of_ones_own_has_its_threshold_for_labels_too() -> None:
    def of(**said: float) -> float | None:
        metric = {"name": "p", "source": "answers"} | said
        [found] = CanaryConfig.model_validate({"analysis": {"metrics": [metric]}}).analysis_policy().metrics
        return found.label_shift

    assert (of(), of(threshold=0.2), of(threshold=0.2, labelShift=0.15)) == (0.1, None, 0.15)
    with pytest.raises(ValueError, match="labelShift"):
        CanaryConfig.model_validate({"analysis": {"metrics": [{"name": "e", "source": "errors", "labelShift": 0.1}]}})
