"""Means, thresholds, Kayenta's judge, the split, and many metrics together: tables on literal observations."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from scipy.stats import mannwhitneyu
from ville import BernoulliCS

from hotswap.analysis.draws import Draws, excess_at_most, rate_within
from hotswap.analysis.judge import StepJudging
from hotswap.analysis.kayenta import shift_interval
from hotswap.domain.analysis import (
    AnalysisPolicy,
    Entities,
    JudgeName,
    Metric,
    Moments,
    NoVerdict,
    Observation,
    Reading,
    Source,
    Worse,
)
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import Outcome, Reason, Verdict

pytestmark = pytest.mark.slow

ACCURACY = Metric("accuracy", Source.ACCURACY, JudgeName.MEAN, threshold=0.05, worse=Worse.LOWER, relative=True)
QUERY = Metric("cpu", Source.PROMETHEUS, JudgeName.THRESHOLD, maximum=0.9, failures=2)
GROWTH = replace(QUERY, maximum=1.5, relative=True, failures=1)
KAYENTA = Metric("cpu", Source.PROMETHEUS, JudgeName.KAYENTA, threshold=1.05)
ERRORS = Metric("errors", Source.ERRORS, JudgeName.BETA_MIXTURE, threshold=0.01)


def look(at: float, readings: dict[str, Reading] | None = None, entities: Entities | None = None) -> Observation:
    counts = Counts(completed=int(100 * at))
    return Observation(at, counts, counts, readings or {}, entities)


def judged(
    metric: Metric, *readings: Reading | None, is_over: bool = False, policy: AnalysisPolicy | None = None
) -> Verdict:
    judging = StepJudging(policy or AnalysisPolicy((metric,)), weight=5_000, reference=None, prior_evidence={})
    for at, reading in enumerate(readings, start=1):
        judging.add(look(at, {} if reading is None else {metric.name: reading}))
    return judging.verdict(is_over=is_over)


def labelled(seconds: int, *, candidate: float, stable: float, each: int = 20) -> list[Reading]:
    """What an accuracy's readings are if so many of the predictions are right."""
    draw = random.Random(3)
    readings, right = [], [0, 0]
    for second in range(1, seconds + 1):
        for arm, share in enumerate((candidate, stable)):
            right[arm] += sum(draw.random() < share for _ in range(each))
        mine, theirs = (Moments(second * each, float(hits), float(hits)) for hits in right)
        readings.append(Reading(second, mine, theirs))
    return readings


def test_a_mean_that_drops_is_harm_and_one_within_its_threshold_is_not() -> None:
    dropped = judged(ACCURACY, *labelled(200, candidate=0.7, stable=0.9))
    assert (dropped.outcome, dropped.reason) == (Outcome.HARM, Reason.ACCURACY)
    assert dropped.metrics[0].numbers["excess"] == pytest.approx(0.2, abs=0.03)
    assert judged(ACCURACY, *labelled(200, candidate=0.89, stable=0.9)).outcome is Outcome.PASS
    assert judged(ACCURACY, *labelled(200, candidate=0.95, stable=0.7)).outcome is Outcome.PASS
    assert judged(ACCURACY, *labelled(2, candidate=0.2, stable=0.9)).outcome is Outcome.INSUFFICIENT_DATA
    assert judged(ACCURACY, *labelled(4, candidate=0.2, stable=0.9)).outcome is Outcome.INCONCLUSIVE


OPTIONAL = replace(ACCURACY, required=False)


def to_and_fro(seconds: int) -> list[Reading]:
    """Of 20 labels 6 are right where the stable has 18, then 18 where it has 9: worse in sum, and it may be chance."""
    readings, mine, theirs = [], 0, 0
    for second in range(1, seconds + 1):
        mine, theirs = (mine + 6, theirs + 18) if second % 2 else (mine + 18, theirs + 9)
        readings.append(Reading(second, Moments(20 * second, mine, mine), Moments(20 * second, theirs, theirs)))
    return readings


def test_a_metric_that_is_not_required_is_no_pass_while_the_evidence_speaks_against_the_candidate() -> None:
    """It may lack data; where it has them, "73 more requests would show it" must not be promoted."""
    judging = StepJudging(AnalysisPolicy((ERRORS, OPTIONAL)), weight=5_000, reference=None, prior_evidence={})
    for at, reading in enumerate(labelled(15, candidate=0.6, stable=0.9), start=1):
        judging.add(look(at, {"accuracy": reading}))
    verdict = judging.verdict()
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert verdict.metrics[1].log_evidence > 0
    assert "more requests" in verdict.message


@pytest.mark.parametrize(
    ("metric", "readings"),
    [
        pytest.param(OPTIONAL, [], id="without labels"),
        pytest.param(OPTIONAL, to_and_fro(14), id="by what may as well be chance"),
        pytest.param(
            replace(OPTIONAL, rolls_back=False), labelled(15, candidate=0.6, stable=0.9), id="that is only told"
        ),
    ],
)
def test_a_metric_that_is_not_required_holds_nobody_up(metric: Metric, readings: list[Reading]) -> None:
    judging = StepJudging(AnalysisPolicy((ERRORS, metric)), weight=5_000, reference=None, prior_evidence={})
    for at in range(1, 16):
        judging.add(look(at, {"accuracy": readings[at - 1]} if at <= len(readings) else {}))
    verdict = judging.verdict()
    assert verdict.outcome is Outcome.PASS, verdict.message


def test_a_mean_within_its_threshold_for_certain_may_be_promoted_early() -> None:
    policy = AnalysisPolicy((ACCURACY,), promote_early=True)
    assert judged(ACCURACY, *labelled(500, candidate=0.9, stable=0.9, each=200), policy=policy).early
    assert not judged(ACCURACY, *labelled(10, candidate=0.9, stable=0.9), policy=policy).early


@pytest.mark.parametrize(("candidate", "outcome"), [(0.6, Outcome.INCONCLUSIVE), (0.9, Outcome.PASS)])
def test_at_full_weight_the_mean_that_the_stable_had_is_no_harm(candidate: float, outcome: Outcome) -> None:
    judging = StepJudging(
        AnalysisPolicy((ACCURACY,)), weight=10_000, reference=Counts(completed=500), prior_evidence={}
    )
    before = Moments(500, 450.0, 450.0)
    for at, reading in enumerate(labelled(100, candidate=candidate, stable=0.9), start=1):
        judging.add(look(at, {"accuracy": replace(reading, stable=before)}))
    assert judging.verdict().outcome is outcome


def value(of: float | None, stable: float | None = None) -> Reading:
    return Reading(1.0, candidate_value=of, stable_value=stable)


BROKEN = Reading(1.0, error="no answer")


@pytest.mark.parametrize(
    ("metric", "readings", "outcome"),
    [
        (QUERY, [value(0.5)], Outcome.PASS),
        (QUERY, [], Outcome.INSUFFICIENT_DATA),
        (QUERY, [value(None)], Outcome.INSUFFICIENT_DATA),
        (QUERY, [value(float("nan"))], Outcome.INSUFFICIENT_DATA),
        (QUERY, [value(0.95)], Outcome.INCONCLUSIVE),
        (QUERY, [value(0.95), None, value(0.95)], Outcome.HARM),
        (QUERY, [value(0.95), value(0.5), value(0.95)], Outcome.INCONCLUSIVE),
        (QUERY, [value(0.5), BROKEN], Outcome.ERROR),
        (QUERY, [value(0.95), BROKEN, value(0.95)], Outcome.HARM),
        (replace(QUERY, rolls_back=False), [value(0.95), value(0.95)], Outcome.INCONCLUSIVE),
        (GROWTH, [value(15, 10)], Outcome.PASS),
        (GROWTH, [value(16, 10)], Outcome.HARM),
        (GROWTH, [value(16)], Outcome.INSUFFICIENT_DATA),
        (GROWTH, [value(1, 0)], Outcome.HARM),
        (GROWTH, [value(0, 0)], Outcome.PASS),
        (replace(QUERY, maximum=None, minimum=5, failures=1), [value(4)], Outcome.HARM),
        (replace(QUERY, source=Source.WEBHOOK, failures=1), [Reading(1, passed=False, message="no")], Outcome.HARM),
        (replace(QUERY, source=Source.WEBHOOK, failures=1), [Reading(1, passed=True)], Outcome.PASS),
        (ACCURACY, [BROKEN], Outcome.ERROR),
        (ACCURACY, [], Outcome.INSUFFICIENT_DATA),
    ],
)
def test_values_and_what_is_missing(metric: Metric, readings: Sequence[Reading | None], outcome: Outcome) -> None:
    assert judged(metric, None, *readings, None).outcome is outcome


def test_what_its_source_says_of_a_value_is_told_with_it_or_why_there_is_none() -> None:
    drift = Metric("drift", Source.DRIFT, JudgeName.THRESHOLD, maximum=0.3)
    far = judged(drift, Reading(1.0, candidate_value=0.5, message="age is 0.50 from its training reference"))
    assert far.message == "drift: 0.5 is above 0.3: age is 0.50 from its training reference"
    unknown = judged(drift, Reading(1.0, message="no feature in common with the reference"))
    assert unknown.outcome is Outcome.INSUFFICIENT_DATA
    assert unknown.message == "drift: no feature in common with the reference"


def test_errors_and_latency_have_thresholds_too() -> None:
    rate = Metric("errors", Source.ERRORS, JudgeName.THRESHOLD, maximum=0.05)
    slow = Metric("p99", Source.LATENCY, JudgeName.THRESHOLD, maximum=100, quantile=0.99)
    failing = Counts(completed=100, server_errors=10, latency={"5000": 100})
    dragging = Counts(completed=100, latency={"5000": 90, "200000": 10})
    for metric, bad, reason in ((rate, failing, Reason.ERROR_RATE), (slow, dragging, Reason.LATENCY)):
        judging = StepJudging(AnalysisPolicy((metric,)), weight=5_000, reference=None, prior_evidence={})
        judging.add(Observation(1, bad, bad))
        assert judging.verdict().reason is reason


def test_a_threshold_on_counts_reads_what_is_new_and_only_once_an_interval() -> None:
    """Three readings in a row are three times as much as one, not one that was looked at three times."""
    rate = Metric(
        "errors", Source.ERRORS, JudgeName.THRESHOLD, maximum=0.05, failures=3, samples=20, interval_seconds=5
    )
    judging = StepJudging(AnalysisPolicy((rate,)), weight=5_000, reference=None, prior_evidence={})
    candidate, outcomes = Counts(), {}
    for at in range(1, 32):
        bad = at >= 11
        candidate += Counts(completed=10, server_errors=5 * bad, latency={"5000": 10 - 5 * bad})
        judging.add(Observation(float(at), candidate, Counts(completed=10 * at)))
        outcomes[at] = judging.verdict().outcome
    first = [min(at for at, each in outcomes.items() if each is wanted) for wanted in (Outcome.PASS, Outcome.HARM)]
    assert first == [2, 22], outcomes  # read at 2, 7, and of what came after 10 at 12, 17 and 22


def series(candidate: list[float], stable: list[float]) -> Reading:
    return Reading(1.0, candidate_points=(*candidate, None), stable_points=(None, *stable))


@pytest.mark.parametrize(
    ("candidate", "stable", "outcome"),
    [
        ([100] * 7 + [1] * 3, [1] * 10, Outcome.PASS),
        ([100] * 8 + [1] * 2, [1] * 10, Outcome.HARM),
        ([0, 1, 2, 1, 0, 0], [0] * 6, Outcome.PASS),
        ([1, 2, 3], [1, 2, 3], Outcome.PASS),
        ([float("nan")], [1, 2], Outcome.INSUFFICIENT_DATA),
        ([1] * 10, [100] * 10, Outcome.PASS),
    ],
)
def test_kayenta_says_what_kayenta_says(candidate: list[float], stable: list[float], outcome: Outcome) -> None:
    assert judged(KAYENTA, series(candidate, stable), is_over=True).outcome is outcome


def test_kayenta_judges_once_at_the_end() -> None:
    judging = StepJudging(AnalysisPolicy((KAYENTA,)), weight=5_000, reference=None, prior_evidence={})
    judging.add(look(1, {"cpu": series([1] * 10, [1] * 10)}))
    assert judging.verdict().outcome is Outcome.INCONCLUSIVE
    assert judging.verdict(is_over=True).outcome is Outcome.PASS
    judging.add(look(2, {"cpu": series([100] * 10, [1] * 10)}))
    assert judging.verdict(is_over=True).outcome is Outcome.PASS


def test_kayentas_interval_contains_no_shift_exactly_when_the_test_finds_none() -> None:
    draw = random.Random(5)
    for _ in range(100):
        mine = [draw.gauss(0.8, 1) for _ in range(15)]
        theirs = [draw.gauss(0, 1) for _ in range(12)]
        lower, upper, shift = shift_interval(mine, theirs)
        found = mannwhitneyu(mine, theirs, method="asymptotic").pvalue < 0.02
        assert (lower > 0 or upper < 0) == found
        assert lower <= shift <= upper


@pytest.mark.parametrize(
    ("candidate", "stable", "entities", "is_off"),
    [
        (Counts(completed=500), Counts(completed=500), None, False),
        (Counts(completed=540), Counts(completed=460), None, False),
        (Counts(completed=600), Counts(completed=400), None, True),
        (Counts(completed=400), Counts(completed=600), None, True),
        (Counts(completed=52_000), Counts(completed=48_000), None, False),  # sure, but too little to mind
        (Counts(completed=600, sticky=200), Counts(completed=400), None, False),
        (Counts(completed=600, sticky=600), Counts(completed=400, sticky=400), Entities(50, 48), False),
        (Counts(completed=500, sticky=500), Counts(completed=500, sticky=500), Entities(300, 150), True),
    ],
)
def test_a_split_that_is_not_the_commanded_one_holds(
    candidate: Counts, stable: Counts, entities: Entities | None, is_off: bool
) -> None:
    policy = AnalysisPolicy((replace(ERRORS, samples=1),))
    for each, expected in ((policy, is_off), (replace(policy, sample_ratio=False), False)):
        judging = StepJudging(each, weight=5_000, reference=None, prior_evidence={})
        judging.add(Observation(1, candidate, stable, entities=entities))
        verdict = judging.verdict()
        if expected:
            assert (verdict.outcome, verdict.reason) == (Outcome.INCONCLUSIVE, Reason.SAMPLE_RATIO)
            assert verdict.action is NoVerdict.HOLD
        else:
            assert verdict.outcome is Outcome.PASS, verdict.message


def test_one_caller_who_fails_often_is_one_failure() -> None:
    candidate = Counts(completed=1_000, server_errors=40, sticky=1_000, sticky_errors=40)
    stable = Counts(completed=1_000, sticky=1_000)
    outcomes = []
    for failed in (1, 40):
        judging = StepJudging(AnalysisPolicy((ERRORS,)), weight=5_000, reference=None, prior_evidence={})
        judging.add(Observation(1, candidate, stable, entities=Entities(100, 100, failed, 0)))
        outcomes.append(judging.verdict().outcome)
    assert outcomes == [Outcome.PASS, Outcome.HARM]


def test_the_error_probability_is_divided_among_what_may_roll_back() -> None:
    one = AnalysisPolicy((ERRORS,))
    many = AnalysisPolicy((ERRORS, *(replace(ERRORS, name=f"errors{number}") for number in range(9))))
    free = AnalysisPolicy((ERRORS, *(replace(each, rolls_back=False) for each in many.metrics[1:])))
    seen = Observation(1, Counts(completed=200, server_errors=11), Counts(completed=200))
    outcomes = []
    for policy in (one, many, free):
        judging = StepJudging(policy, weight=5_000, reference=None, prior_evidence={})
        judging.add(seen)
        outcomes.append(judging.verdict().metrics[0].outcome)
    assert outcomes == [Outcome.HARM, Outcome.INCONCLUSIVE, Outcome.HARM]


def test_evidence_goes_on_from_the_step_before() -> None:
    seen = Observation(1, Counts(completed=200, server_errors=6), Counts(completed=200))
    outcomes = []
    for prior in ({}, {"errors": 2.0}):
        judging = StepJudging(AnalysisPolicy((ERRORS,)), weight=5_000, reference=None, prior_evidence=prior)
        judging.add(seen)
        outcomes.append(judging.verdict().outcome)
    assert outcomes == [Outcome.INCONCLUSIVE, Outcome.HARM]


@pytest.mark.parametrize(("hits", "misses"), [(0, 50), (3, 97), (50, 50), (120, 4_880)])
def test_a_rate_is_bounded_as_an_independent_implementation_bounds_it(hits: int, misses: int) -> None:
    oracle = BernoulliCS(alpha=0.01, prior=(0.5, 0.5), intersect=False)
    oracle.update([1.0] * hits + [0.0] * misses)
    interval = oracle.interval()
    assert rate_within(hits, misses, alpha=0.01) == pytest.approx((interval[0], interval[1]), abs=1e-3)


def test_the_excess_of_errors_is_bounded_by_both_rates() -> None:
    few, many = Draws(0, 100), Draws(500, 100_000)
    assert excess_at_most(few, few, alpha=0.01) > 0.05
    assert 0 < excess_at_most(many, many, alpha=0.01) < 0.003


def test_the_same_looks_give_the_same_verdict_whenever_they_are_judged() -> None:
    draw = random.Random(11)
    policy = AnalysisPolicy((ERRORS, ACCURACY))
    accuracy = labelled(100, candidate=0.6, stable=0.9)
    candidate = stable = Counts()
    looks = []
    for at in range(1, 101):
        candidate += Counts(completed=20, server_errors=draw.randrange(3), latency={"5000": 20})
        stable += Counts(completed=20, latency={"5000": 20})
        looks.append(Observation(at, candidate, stable, {"accuracy": accuracy[at - 1]}))
    asked, unasked = (StepJudging(policy, weight=5_000, reference=None, prior_evidence={}) for _ in range(2))
    for each in looks:
        asked.add(each)
        asked.verdict()
        unasked.add(each)
        unasked.add(each)  # one that isn't newer is left out
    assert asked.verdict() == unasked.verdict()


@pytest.mark.parametrize("missing", [(), ("envoy-1",), ("envoy-1", "envoy-2")])
def test_a_verdict_names_the_proxies_that_were_silent_and_is_the_same_otherwise(missing: tuple[str, ...]) -> None:
    def said(*missing: str) -> Verdict:
        judging = StepJudging(AnalysisPolicy((ERRORS,)), weight=5_000, reference=None, prior_evidence={})
        judging.add(replace(look(1.0), missing=("envoy-9",)))
        judging.add(replace(look(2.0), missing=missing))
        return judging.verdict(is_over=True)

    whole = said()
    told = f"; judged without {', '.join(missing)}, of which nothing was heard lately" if missing else ""
    assert said(*missing) == replace(whole, message=whole.message + told, missing=missing)
