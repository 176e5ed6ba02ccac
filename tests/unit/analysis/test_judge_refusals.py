"""The judge of what a candidate refuses (4xx), and of pairs: what the stable was asked in the candidate's place."""

import random
from dataclasses import replace

import pytest

from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, Entities, JudgeName, Metric, Observation, Source
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts
from hotswap.domain.verdict import MetricResult, Outcome, Reason, Verdict
from hotswap.schemas.strategy import CanaryConfig

POLICY = replace(CanaryConfig().analysis_policy(), sample_ratio=False)
REFUSALS = Metric("refusals", Source.REFUSALS, JudgeName.BETA_MIXTURE, threshold=0.01)
ERRORS = Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=0.01)


def judged(
    candidate: Counts,
    stable: Counts,
    *,
    weight: int = TOTAL_WEIGHT // 2,
    entities: Entities | None = None,
    policy: AnalysisPolicy = POLICY,
) -> Verdict:
    reference = stable if weight == TOTAL_WEIGHT else None
    judging = StepJudging(policy, weight=weight, reference=reference, prior_evidence={})
    judging.add(Observation(1.0, candidate, stable, entities=entities))
    return judging.verdict(is_over=True)


def metric(verdict: Verdict, name: str) -> MetricResult:
    return next(each for each in verdict.metrics if each.name == name)


def answered(completed: int, *, refused: int = 0, pairs: int = 0, **more: int) -> Counts:
    """`pairs` of the refused were asked of the stable as well."""
    good = completed - refused - more.get("server_errors", 0)
    return Counts(completed, client_errors=refused, refused=pairs, latency={"5000": good}, **more)


@pytest.mark.parametrize(
    ("candidate", "stable", "weight", "outcome", "reason"),
    [
        pytest.param(answered(600, refused=360), answered(5_400), 1_000, Outcome.HARM, Reason.REFUSALS, id="most"),
        pytest.param(answered(600, refused=600), answered(5_400), 1_000, Outcome.HARM, Reason.REFUSALS, id="all"),
        pytest.param(answered(600, refused=20), answered(5_400), 1_000, Outcome.HARM, Reason.REFUSALS, id="3%"),
        pytest.param(answered(600, refused=60), answered(600, refused=60), 5_000, Outcome.PASS, None, id="both alike"),
        pytest.param(answered(600), answered(600, refused=60), 5_000, Outcome.PASS, None, id="the stable alone"),
        pytest.param(answered(200, refused=3), answered(200), 5_000, Outcome.INCONCLUSIVE, None, id="few"),
        pytest.param(
            answered(100, refused=60),
            answered(100, refused=60),
            5_000,
            Outcome.INSUFFICIENT_DATA,
            None,
            id="a refusal is no good answer",
        ),
    ],
)
def test_an_excess_of_refusals_is_harm_as_one_of_errors_is(
    candidate: Counts, stable: Counts, weight: int, outcome: Outcome, reason: Reason | None
) -> None:
    verdict = judged(candidate, stable, weight=weight)
    assert (verdict.outcome, verdict.reason) == (outcome, reason), verdict.message
    assert (verdict.candidate.refused, verdict.stable.refused) == (candidate.client_errors, stable.client_errors)


@pytest.mark.parametrize("weight", [1_000, TOTAL_WEIGHT], ids=["beside the stable", "at 100%"])
def test_a_few_refusals_that_the_stable_answered_are_harm_and_what_both_refuse_is_nobodys_failure(weight: int) -> None:
    stable = answered(900)
    rescued = judged(answered(100, refused=6, pairs=6, rescued_refusals=6), stable, weight=weight)
    assert (rescued.outcome, rescued.reason) == (Outcome.HARM, Reason.REFUSALS), rescued.message
    mistakes = judged(answered(200, refused=100, pairs=100), stable, weight=weight)
    assert mistakes.outcome is Outcome.PASS, mistakes.message
    mixed = judged(answered(200, refused=106, pairs=106, rescued_refusals=6), stable, weight=weight)
    assert mixed.outcome is not Outcome.PASS, mixed.message


def test_one_caller_whom_the_candidate_refuses_is_no_harm_and_many_are() -> None:
    candidate = answered(1_000, refused=300, sticky=1_000, sticky_refused=300)
    stable = answered(1_000, sticky=1_000)
    outcomes = [
        metric(judged(candidate, stable, entities=Entities(100, 100, candidate_refused=hit)), "refusals").outcome
        for hit in (1, 30)
    ]
    assert outcomes == [Outcome.PASS, Outcome.HARM]
    assert metric(judged(candidate, stable), "refusals").outcome is not Outcome.HARM, "nobody has counted them yet"


def test_callers_for_whom_everything_fails_here_and_nothing_there_are_harm_though_there_are_two() -> None:
    candidate = answered(200, server_errors=20, sticky=200, sticky_errors=20, rescued_errors=20)
    stable = answered(1_800, sticky=1_800)
    seen = Entities(20, 180, 2, 0, candidate_rescued=2, candidate_failures=20)
    verdict = judged(candidate, stable, weight=1_000, entities=seen)
    assert (verdict.outcome, verdict.reason) == (Outcome.HARM, Reason.ERROR_RATE), verdict.message
    one = replace(seen, candidate_failed=1, candidate_rescued=1)
    assert judged(candidate, stable, weight=1_000, entities=one).outcome is not Outcome.HARM
    both = replace(seen, candidate_rescued=0)
    assert judged(candidate, stable, weight=1_000, entities=both).outcome is not Outcome.HARM, "they fail there as well"


def test_at_full_weight_only_what_the_stable_did_with_the_same_requests_rolls_back() -> None:
    stable = answered(900)
    worse = judged(answered(1_000, server_errors=200, rescued_errors=200), stable, weight=TOTAL_WEIGHT)
    assert (worse.outcome, worse.reason) == (Outcome.HARM, Reason.ERROR_RATE), worse.message
    alike = judged(answered(1_000, server_errors=200, rescued_errors=150), stable, weight=TOTAL_WEIGHT)
    assert alike.outcome is not Outcome.HARM, alike.message


def test_failures_that_no_record_tells_of_are_never_taken_away() -> None:
    """A replica that dies records nothing: 9% of what callers asked of it ended so."""
    candidate = answered(3_000, server_errors=270, sticky=3_000, sticky_errors=270)
    stable = answered(3_000, sticky=3_000)
    untold = Entities(300, 300, 0, 0, candidate_failures=0, stable_failures=0)
    verdict = judged(candidate, stable, entities=untold)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "no record says whose" in verdict.message
    told = Entities(300, 300, 1, 0, candidate_failures=270, stable_failures=0)
    assert judged(candidate, stable, entities=told).outcome is Outcome.PASS, "it was one caller"
    half = Entities(300, 300, 1, 0, candidate_failures=30, stable_failures=0)
    assert judged(candidate, stable, entities=half).outcome is Outcome.INCONCLUSIVE, (
        "one caller doesn't hide the others"
    )


def test_a_loud_caller_is_no_harm_before_callers_are_counted_and_few_callers_are_none_after() -> None:
    candidate = answered(40, server_errors=30, sticky=30, sticky_errors=30)
    assert judged(candidate, answered(90), weight=1_000).outcome is not Outcome.HARM
    few = judged(
        answered(80, server_errors=80, sticky=80, sticky_errors=80),
        answered(720, sticky=720),
        weight=1_000,
        entities=Entities(4, 400, 4, 0, candidate_failures=80),
    )
    assert metric(few, "errors").outcome is Outcome.INCONCLUSIVE
    assert "at least 5 callers" in metric(few, "errors").message
    nobody = judged(answered(80, server_errors=40), answered(720), weight=1_000)
    assert nobody.outcome is Outcome.HARM, "requests of nobody in particular need no callers"


@pytest.mark.slow
def test_good_candidates_beside_clients_who_send_nonsense_are_seldom_harmed() -> None:
    """5% of all requests are nonsense, a tenth of the others fails for a moment; the stable is asked each again."""
    draw, harmed, runs = random.Random(20), 0, 40
    policy = AnalysisPolicy((replace(ERRORS, threshold=0.0), replace(REFUSALS, threshold=0.0)), alpha=0.05)
    for _ in range(runs):
        judging = StepJudging(policy, weight=3_000, reference=None, prior_evidence={})
        totals = {arm: [0, 0, 0, 0] for arm in "cs"}
        for at in range(1, 9):
            for _ in range(100):
                arm = totals["c" if draw.random() < 0.3 else "s"]
                arm[0] += 1
                nonsense, fails = draw.random() < 0.05, draw.random() < 0.1
                arm[1] += nonsense
                arm[2] += not nonsense and fails
                arm[3] += not nonsense and fails and draw.random() >= 0.1
            mine, theirs = totals["c"], totals["s"]
            candidate = Counts(mine[0], mine[2], mine[1], refused=mine[1], rescued_errors=mine[3])
            judging.add(Observation(float(at), candidate, Counts(theirs[0], theirs[2], theirs[1])))
            if judging.verdict().outcome is Outcome.HARM:
                harmed += 1
                break
    assert harmed <= 0.05 * runs


def test_refusals_are_judged_where_errors_are_unless_the_config_says_otherwise() -> None:
    def names(*metrics: dict[str, object]) -> list[str]:
        config = CanaryConfig.model_validate({"analysis": {"metrics": list(metrics)}, "minimumRequests": 30})
        return [each.name for each in config.analysis_policy().metrics]

    assert names({"name": "errors", "source": "errors"}) == ["errors", "refusals"]
    own = {"name": "mine", "source": "refusals", "threshold": 0.2, "rollsBack": False}
    assert names({"name": "errors", "source": "errors"}, own) == ["errors", "mine"]
    assert names({"name": "errors", "source": "errors", "judge": "threshold", "max": 0.1}) == ["errors"]
    assert names({"name": "c", "source": "confidence"}) == ["c"]
    chosen = CanaryConfig.model_validate({"rollbackThresholds": {"refusalIncrease": 0.2}}).analysis_policy()
    assert next(each.threshold for each in chosen.metrics if each.source is Source.REFUSALS) == 0.2


POISON = Counts(230, server_errors=10, fell_back=10, sticky=230, sticky_errors=10, latency={"5000": 220})
"""One caller sends what neither version can answer."""


@pytest.mark.parametrize(
    ("candidate", "outcome"),
    [
        pytest.param(POISON, Outcome.PASS, id="the stable failed all of it too"),
        pytest.param(replace(POISON, fell_back=14, refused=4), Outcome.PASS, id="beside clients' mistakes"),
        pytest.param(replace(POISON, rescued_errors=1), Outcome.INCONCLUSIVE, id="the stable answered one"),
        pytest.param(replace(POISON, fell_back=9), Outcome.INCONCLUSIVE, id="one was not asked again"),
        pytest.param(replace(POISON, fell_back=0), Outcome.INCONCLUSIVE, id="it must not be asked twice"),
    ],
)
@pytest.mark.parametrize("weight", [TOTAL_WEIGHT // 2, TOTAL_WEIGHT])
def test_failures_that_the_stable_all_failed_as_well_keep_nobody_from_a_pass(
    candidate: Counts, outcome: Outcome, weight: int
) -> None:
    entities = Entities(candidate=23, stable=17, candidate_failed=1, candidate_failures=10)
    verdict = judged(candidate, answered(170, sticky=170), weight=weight, entities=entities)
    errors = metric(verdict, "errors")
    assert errors.outcome is outcome, errors.message
    assert ("the stable failed them as well" in errors.message) is (outcome is Outcome.PASS)


def test_what_both_fail_is_no_evidence_that_a_later_step_goes_on_from() -> None:
    entities = Entities(candidate=40, stable=40, candidate_failed=12, candidate_failures=10)
    both = judged(POISON, answered(170, sticky=170), entities=entities)
    alone = judged(replace(POISON, rescued_errors=10), answered(170, sticky=170), entities=entities)
    assert metric(alone, "errors").log_evidence > 3
    assert metric(both, "errors").log_evidence == 0


@pytest.mark.parametrize(
    ("failed", "rescued", "before", "outcome"),
    [
        pytest.param(22, 22, 22, Outcome.PASS, id="1.2% as before, of which the stable happened to fail none"),
        pytest.param(90, 88, 90, Outcome.PASS, id="5% as before"),
        pytest.param(24, 24, 4, Outcome.INCONCLUSIVE, id="more than before, and the stable answered them"),
        pytest.param(90, 40, 4, Outcome.INCONCLUSIVE, id="the world fails more than before"),
        pytest.param(400, 395, 400, Outcome.HARM, id="evidence of the pairs, whatever was before"),
    ],
)
def test_at_full_weight_a_few_pairs_hold_nobody_who_fails_no_more_than_the_stable_did(
    failed: int, rescued: int, before: int, outcome: Outcome
) -> None:
    mine = answered(1_800, server_errors=failed, fell_back=failed, rescued_errors=rescued)
    errors = metric(judged(mine, answered(1_800, server_errors=before), weight=TOTAL_WEIGHT), "errors")
    assert errors.outcome is outcome, errors.message
