"""What becomes of a rollout against which nothing is proven: a stable that is down, and evidence that is lacking."""

from dataclasses import replace

import numpy as np
import pytest

from hotswap.analysis.figures import Outlook
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import Entities, NoVerdict, Observation
from hotswap.domain.baking import concluded
from hotswap.domain.policy import Requests, RollBack, Rollout, next_action
from hotswap.domain.strategy import Step
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import Outcome, Reason, Verdict
from hotswap.schemas.strategy import CanaryConfig

POLICY = replace(CanaryConfig().analysis_policy(), sample_ratio=False)


def answered(completed: int, *, failed: int = 0) -> Counts:
    good = completed - failed
    return Counts(completed, server_errors=failed, latency={"5000": good} if good else {})


def judged(candidate: Counts, stable: Counts, *, weight: int = 1_000, seconds: int = 1) -> Verdict:
    judging = StepJudging(
        POLICY, weight=weight, reference=stable if weight == TOTAL_WEIGHT else None, prior_evidence={}
    )
    judging.add(Observation(1.0, Counts(), Counts()))
    judging.add(Observation(1.0 + seconds, candidate, stable))
    return judging.verdict(is_over=True)


@pytest.mark.parametrize(
    ("candidate", "stable", "outcome"),
    [
        pytest.param(answered(600), answered(5_400, failed=5_400), Outcome.PASS, id="the fix of an outage"),
        pytest.param(answered(600, failed=60), answered(5_400, failed=5_380), Outcome.PASS, id="much better"),
        pytest.param(answered(40), answered(5_400, failed=5_400), Outcome.INSUFFICIENT_DATA, id="few"),
        pytest.param(answered(600, failed=540), answered(600, failed=560), Outcome.INSUFFICIENT_DATA, id="both down"),
        pytest.param(answered(600), answered(20, failed=20), Outcome.INSUFFICIENT_DATA, id="unasked"),
    ],
)
@pytest.mark.parametrize("weight", [1_000, TOTAL_WEIGHT])
def test_a_candidate_that_evidently_answers_where_the_stable_is_down_passes(
    candidate: Counts, stable: Counts, outcome: Outcome, weight: int
) -> None:
    verdict = judged(candidate, stable, weight=weight)
    assert verdict.outcome is outcome, verdict.message


def test_what_may_be_chance_tells_how_many_more_requests_would_show_it() -> None:
    verdict = judged(answered(222, failed=18), answered(222, failed=10), weight=5_000, seconds=37)
    errors = next(each for each in verdict.metrics if each.name == "errors")
    assert verdict.outcome is Outcome.INCONCLUSIVE
    more = errors.numbers["requests_needed"]
    assert more > 222
    assert f"{more:.0f} more requests of the candidate, about {more / 6:.0f} s" in verdict.message


def test_the_outlook_is_in_proportion_to_what_has_been_seen() -> None:
    assert Outlook(evidence=2.0, prior=0.0, needed=6.0, requests=100, seconds=10).more == 200
    assert Outlook(evidence=3.0, prior=1.0, needed=6.0, requests=100, seconds=10).more == 150
    assert Outlook(evidence=-1.0, prior=0.0, needed=6.0, requests=100, seconds=10).more is None


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.INCONCLUSIVE, Reason.INCONCLUSIVE),
        (Outcome.INSUFFICIENT_DATA, Reason.INSUFFICIENT_DATA),
        (Outcome.ERROR, Reason.ANALYSIS_FAILED),
    ],
)
def test_a_deadline_without_proof_says_what_to_do_and_calls_chance_no_failure(outcome: Outcome, reason: Reason) -> None:
    rollout = Rollout((Step(1_000, 60, 180),), weight_verified_at=0.0, verdict=Verdict(outcome, "it says"))
    action = next_action(rollout, Requests(), now=180.0)
    assert isinstance(action, RollBack)
    assert action.reason is reason
    for word in (str(outcome), "it says", "`promote`", "`bakeDeadline`", "`onNoVerdict: hold`"):
        assert word in action.message
    assert rollout.verdict is not None
    assert rollout.verdict.action is NoVerdict.EXTEND


@pytest.mark.parametrize(
    ("candidate", "stable", "weight", "is_chance"),
    [
        pytest.param(answered(540, failed=36), answered(4_860, failed=243), 1_000, True, id="both fail 5%"),
        pytest.param(answered(540, failed=50), answered(4_860, failed=243), 1_000, False, id="nearly twice as many"),
        pytest.param(answered(540, failed=9), answered(4_860, failed=24), 1_000, True, id="both fail half a percent"),
        pytest.param(answered(900, failed=10), answered(900), 5_000, False, id="the stable fails nothing"),
        pytest.param(answered(4_802, failed=239), answered(522, failed=16), 9_000, True, id="the stable fails few"),
        pytest.param(answered(60, failed=5), answered(540, failed=27), 1_000, False, id="too few to see twice as many"),
        pytest.param(answered(200, failed=4), answered(200), 5_000, False, id="too few to see three in a hundred"),
        pytest.param(answered(540, failed=36), answered(540, failed=27), TOTAL_WEIGHT, False, id="of another time"),
    ],
)
def test_an_excess_is_chance_where_a_stable_that_fails_itself_may_have_it_and_twice_that_would_show(
    candidate: Counts, stable: Counts, weight: int, is_chance: bool
) -> None:
    verdict = judged(candidate, stable, weight=weight, seconds=180)
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict.message
    assert verdict.is_chance is is_chance, verdict.message


def test_callers_are_too_few_for_chance_to_be_told_from_a_version_that_fails_some_of_them() -> None:
    counts = [
        Counts(300, failed, sticky=300, sticky_errors=failed, latency={"5000": 300 - failed}) for failed in (90, 0)
    ]
    entities = Entities(10, 10, candidate_failed=3, candidate_failures=90, stable_failures=0)
    judging = StepJudging(POLICY, weight=5_000, reference=None, prior_evidence={})
    judging.add(Observation(1.0, counts[0], counts[1], entities=entities))
    verdict = judging.verdict(is_over=True)
    assert (verdict.outcome, verdict.is_chance) == (Outcome.INCONCLUSIVE, False), verdict.message


def test_what_only_lacks_data_beside_chance_is_no_pass() -> None:
    policy = CanaryConfig.model_validate({"rollbackThresholds": {"accuracyDrop": 0.05}}).analysis_policy()
    judging = StepJudging(policy, weight=1_000, reference=None, prior_evidence={})
    judging.add(Observation(1.0, answered(540, failed=36), answered(4_860, failed=243)))
    assert not judging.verdict(is_over=True).is_chance


def test_pairs_are_no_chance() -> None:
    refused = replace(answered(540), client_errors=60, refused=30, rescued_refusals=20)
    judging = StepJudging(POLICY, weight=1_000, reference=None, prior_evidence={})
    judging.add(Observation(1.0, refused, replace(answered(4_860), client_errors=270)))
    assert not judging.verdict(is_over=True).is_chance


@pytest.mark.slow
def test_of_versions_that_fail_alike_few_are_unproven_at_the_deadline_and_of_worse_ones_all() -> None:
    draw, runs = np.random.default_rng(3), 400

    def passes(rate: float) -> bool:
        verdict = judged(
            answered(540, failed=int(draw.binomial(540, rate))),
            answered(4_860, failed=int(draw.binomial(4_860, 0.05))),
            seconds=180,
        )
        return concluded(verdict, at=180.0, deadline=180.0).outcome is Outcome.PASS

    assert sum(passes(0.05) for _ in range(runs)) >= runs - 4
    assert sum(passes(0.12) for _ in range(runs)) <= 4


def test_only_at_the_deadline_does_chance_pass() -> None:
    chance = Verdict(Outcome.INCONCLUSIVE, "6.67% failed", is_chance=True)
    assert concluded(chance, at=179.0, deadline=180.0) == chance
    passed = concluded(chance, at=180.0, deadline=180.0)
    assert passed.outcome is Outcome.PASS
    assert "deadline" in passed.message
    assert "6.67% failed" in passed.message
    held = replace(chance, action=NoVerdict.HOLD)
    assert concluded(held, at=180.0, deadline=180.0) == held
    unproven = replace(chance, is_chance=False)
    assert concluded(unproven, at=180.0, deadline=180.0) == unproven
