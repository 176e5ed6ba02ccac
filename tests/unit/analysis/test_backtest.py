"""A backtest's comparison and what follows from it: tables of replies, and what no table may break.

Failures are in `test_backtest_failures.py`.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.analysis.backtest import compare
from hotswap.analysis.shares import ALPHA, tally
from hotswap.domain.backtest import (
    FEW,
    AskedRequest,
    BacktestLimits,
    DifferingPart,
    OnBreach,
    RecordedSample,
    Reply,
    ReplyKind,
    Ruling,
    rule,
    spread,
)
from hotswap.domain.vocabulary import Environment
from tests.unit.analysis.backtested import all_of, answered, as_good, failed, recorded, refused, report

PRODUCTION, STAGING = Environment.PRODUCTION, Environment.STAGING


def test_a_candidate_that_answers_alike_goes_on() -> None:
    seen = all_of(200, as_good)
    assert (seen.asked, seen.refusals.hits, seen.failures.hits, seen.disagreements.hits) == (200, 0, 0, 0)
    assert (seen.collapse, seen.shift, seen.slices, seen.notes) == (None, None, (), ())
    assert rule(seen, BacktestLimits(), environment=PRODUCTION).ruling is Ruling.GO_ON


# Of 200 requests 6 refused are seen by chance in 1.6% of the samples of a candidate that refuses 1%, and 7 in 0.4%.
@pytest.mark.parametrize(
    ("hits", "of", "limit", "is_over"),
    [
        (6, 200, 0.01, False),
        (7, 200, 0.01, True),
        (2, 20, 0.01, False),
        (3, 20, 0.01, True),
        (1, 1, 0.01, False),
        (2, 5, 0.01, True),
        (0, 200, 0.0, False),
        (1, 200, 0.0, True),
        (75, 200, 0.3, False),
        (80, 200, 0.3, True),
        (200, 200, 1.0, False),
    ],
)
def test_a_share_is_over_its_limit_only_by_evidence(hits: int, of: int, limit: float, is_over: bool) -> None:
    assert tally(hits, of).is_over(limit) is is_over


@given(st.integers(1, 400).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_bound_is_the_share_at_which_so_many_hits_are_as_rare_as_alpha(counts: tuple[int, int]) -> None:
    hits, of = counts
    found = tally(hits, of)
    assert 0 <= found.at_least <= hits / of
    if hits:
        p = found.at_least
        below = sum(math.comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(hits))
        assert 1 - below == pytest.approx(ALPHA, rel=1e-6)


def test_refusals_end_it_and_are_told_by_field_and_request() -> None:
    def one(number: int) -> AskedRequest:
        if number % 5:
            return as_good(number)
        reply = refused("features.amount" if number % 2 else "features.channel")
        return AskedRequest(recorded(number, 0), (reply,), (answered(0),))

    seen = all_of(200, one)
    assert seen.refusals == tally(40, 200)
    assert [(each.name, each.hits, each.examples) for each in seen.refused_fields] == [
        ("features.amount", 20, ("r-5", "r-15", "r-25")),
        ("features.channel", 20, ("r-0", "r-10", "r-20")),
    ]
    ruled = rule(seen, BacktestLimits(), environment=STAGING)
    assert ruled.ruling is Ruling.FAIL
    for told in ("40 of 200", "`maxRefusals` is 0.01", "features.amount 20 (request r-5)"):
        assert told in ruled.message


@pytest.mark.parametrize("now", [refused(), failed()])
@pytest.mark.parametrize("reply", [refused(), failed(), answered(7)])
def test_what_the_stable_does_not_answer_any_more_says_nothing_of_the_candidate(now: Reply, reply: Reply) -> None:
    seen = all_of(50, lambda number: AskedRequest(recorded(number, 1), (reply,), (now,)))
    assert (seen.left_out, seen.refusals.of, seen.failures.of, seen.disagreements.of) == (50, 0, 0, 0)
    assert "50 are left out, since the stable does not answer them any more" in seen.notes
    assert rule(seen, BacktestLimits(), environment=PRODUCTION).ruling is Ruling.GO_ON


def test_a_stable_that_is_down_leaves_its_records_to_compare_with() -> None:
    seen = all_of(50, lambda number: AskedRequest(recorded(number, 1), (refused(),)))
    assert seen.refusals == tally(50, 50)
    assert seen.timings == ()
    assert "the stable could not be asked beside it, so latency is not compared" in seen.notes


# Of scores the stable's are 0, 1, ... 199, with a standard deviation of some 58 and quartiles that tell 74: 37 apart.
@pytest.mark.parametrize(
    ("theirs", "mine", "differ"),
    [
        (lambda n: n % 2, lambda n: 1 - n % 2, 200),
        (lambda n: n % 2, lambda n: float(n % 2), 0),
        (lambda n: "ab"[n % 2], lambda n: "ab"[n % 2] if n >= 20 else "c", 20),
        (lambda n: n % 2, lambda n: str(n % 2), 200),
        (lambda n: bool(n % 2), lambda n: n % 2, 200),
        (lambda n: n + 0.5, lambda n: n + 0.5 + 30, 0),
        (lambda n: n + 0.5, lambda n: n + 0.5 + 40, 200),
        (lambda n: n + 0.5, lambda n: [n + 0.5], 0),
        (lambda n: n, lambda n: n + 1, 0),
        (lambda n: [n + 0.5, 1.0], lambda n: [n + 0.5], 200),
        (lambda n: {"x": n % 2}, lambda n: {"x": n % 2, "y": 1}, 200),
        (lambda n: {"x": n % 2}, lambda n: {"x": 1 - n % 2}, 200),
        (lambda n: 0.1 * (n % 2), lambda n: 0.1 * (n % 2) * (1 + 1e-6), 0),
    ],
)
def test_answers_differ_as_labels_or_by_more_than_scores_are_spread(
    theirs: Callable[[int], Any], mine: Callable[[int], Any], differ: int
) -> None:
    seen = all_of(200, lambda n: AskedRequest(recorded(n, theirs(n)), (answered(mine(n)),), (answered(theirs(n)),)))
    assert seen.disagreements == tally(differ, 200)
    assert len(seen.disagreeing) == min(3, differ)


@pytest.mark.parametrize(("tolerance", "differ"), [(0.05, 100), (0.2, 0)])
def test_the_tolerance_is_what_was_asked_for(tolerance: float, differ: int) -> None:
    asked = [AskedRequest(recorded(n, n / 100), (answered(n / 100 + 0.1),), (answered(n / 100),)) for n in range(100)]
    seen = report(asked, tolerance=tolerance)
    assert (seen.disagreements, seen.tolerance) == (tally(differ, 100), tolerance)


def test_a_batch_is_one_request_and_differs_as_far_as_its_rows_do() -> None:
    theirs, mine = (0,) * 100, (*(0,) * 99, 1)
    seen = all_of(50, lambda n: AskedRequest(recorded(n, *theirs), (answered(*mine),), (answered(*theirs),)))
    assert seen.disagreements == tally(0.5, 50), "one row of a hundred in each is half a request of fifty"
    assert [(each.name, each.hits, each.of) for each in seen.classes] == [("0", 50, 5_000)]


@pytest.mark.slow
def test_of_a_large_batch_the_first_rows_are_compared() -> None:
    theirs, mine = (0,) * 500, (*(0,) * 400, *(1,) * 100)
    seen = all_of(20, lambda n: AskedRequest(recorded(n, *theirs), (answered(*mine),), (answered(*theirs),)))
    assert (seen.disagreements, seen.classes[0].of) == (tally(0, 20), 2_000)


@pytest.mark.parametrize(
    ("environment", "limit", "ruling"),
    [
        (PRODUCTION, 0.3, Ruling.HOLD),
        (STAGING, 0.3, Ruling.GO_ON),
        (PRODUCTION, 0.6, Ruling.GO_ON),
        (PRODUCTION, None, Ruling.GO_ON),
    ],
)
def test_other_answers_wait_for_a_person_in_production_and_are_told_elsewhere(
    environment: Environment, limit: float | None, ruling: Ruling
) -> None:
    seen = all_of(200, lambda n: AskedRequest(recorded(n, n % 2), (answered(0),), (answered(n % 2),)))
    ruled = rule(replace(seen, collapse=None), BacktestLimits(disagreements=limit), environment=environment)
    assert ruled.ruling is ruling
    assert ("100 of 200" in ruled.message) is (limit == 0.3)


def test_what_breaches_may_be_held_instead() -> None:
    seen = all_of(50, lambda number: AskedRequest(recorded(number, 1), (refused(),), (answered(1),)))
    for environment in Environment:
        ruled = rule(seen, BacktestLimits(on_breach=OnBreach.HOLD), environment=environment)
        assert ruled.ruling is Ruling.HOLD
        assert "`approve` lets it go on" in ruled.message


@pytest.mark.parametrize(
    ("theirs", "mine", "told"),
    [
        (lambda n: int(n % 20 == 0), lambda _: 0, "answers all 200 requests alike"),
        (lambda n: int(n % 40 == 0), lambda _: 0, None),
        (lambda n: n % 2, lambda n: n % 2, None),
        (lambda n: n + 0.5, lambda n: 100 + n / 1000, "of the spread"),
        (lambda n: n + 0.5, lambda n: 100 + n / 10, None),
    ],
)
def test_answers_that_tell_nothing_apart_any_more_are_a_collapse(
    theirs: Callable[[int], Any], mine: Callable[[int], Any], told: str | None
) -> None:
    seen = all_of(200, lambda n: AskedRequest(recorded(n, theirs(n)), (answered(mine(n)),), (answered(theirs(n)),)))
    assert (told is None) is (seen.collapse is None)
    if told is not None:
        assert told in (seen.collapse or "")
        assert rule(seen, BacktestLimits(), environment=PRODUCTION).ruling is Ruling.HOLD


@pytest.mark.parametrize(("now", "is_lost"), [(0.5, True), (None, True), (0.7, False), (0.88, False)])
def test_confidence_that_is_gone_is_a_collapse(now: float | None, is_lost: bool) -> None:
    seen = all_of(
        100,
        lambda n: AskedRequest(
            recorded(n, n % 2, confidence=0.88), (answered(n % 2, confidence=now),), (answered(n % 2),)
        ),
    )
    assert (seen.collapse is not None) is is_lost
    assert not is_lost or "less sure by more than 0.2 of 100 of 100 answers" in (seen.collapse or "")


def test_where_answers_differ_is_told_by_class_and_by_slice_without_any_value() -> None:
    def one(number: int) -> AskedRequest:
        amount, country = 1_000.125 + number, ("FR", "DE", "GB")[number % 3]
        mine = 1 if country == "FR" and number % 2 == 0 else 0
        return AskedRequest(
            recorded(number, 0, features={"amount": amount, "country": country}), (answered(mine),), (answered(0),)
        )

    seen = all_of(300, one)
    assert [(each.name, each.hits, each.of) for each in seen.classes] == [("0", 50, 300)]
    assert [(each.name, each.hits, each.of) for each in seen.slices] == [
        ("country at its value number 1 by frequency", 50, 100)
    ]
    told = str(asdict(seen))
    assert "FR" not in told
    assert "1000.125" not in told


def test_labels_that_may_be_the_features_are_not_named() -> None:
    seen = all_of(50, lambda n: AskedRequest(recorded(n, f"card {n}"), (answered("x"),), (answered(f"card {n}"),)))
    assert (seen.disagreements, seen.classes) == (tally(50, 50), ())


def test_the_shift_of_the_answers_is_told() -> None:
    seen = all_of(200, lambda n: AskedRequest(recorded(n, n / 200), (answered((n / 200) ** 4),), (answered(n / 200),)))
    assert seen.shift is not None
    assert seen.shift.startswith("the distribution of answers has moved: PSI ")


def test_latency_is_of_the_same_requests_alone_and_among_others() -> None:
    def one(number: int) -> AskedRequest:
        slow = 0.004 if number < 10 else 0.001
        mine = (answered(1, seconds=slow), answered(1, seconds=0.008)) if number < 50 else (answered(1, seconds=slow),)
        theirs = (answered(1), answered(1, seconds=0.002)) if number < 50 else (answered(1),)
        return AskedRequest(recorded(number, 1), mine, theirs)

    alone, together = all_of(100, one).timings
    assert (alone.at_once, alone.requests, alone.candidate_p50_ms, alone.stable_p50_ms) == (1, 100, 1.0, 1.0)
    assert alone.candidate_p95_ms == pytest.approx(4.0)
    assert (together.at_once, together.requests, together.candidate_p50_ms, together.stable_p95_ms) == (8, 50, 8.0, 2.0)


@pytest.mark.parametrize(
    ("found", "number", "told"),
    [
        (RecordedSample(), 0, "the stable has answered no request of the last 24 hours"),
        (RecordedSample(reason="it must not be asked twice"), 0, "it must not be asked twice"),
        (None, FEW - 1, "19 requests compared are too few to say that it answers well"),
        (None, 50, "there are 50 distinct requests of the last 24 hours, of 200 wanted"),
    ],
)
def test_too_few_records_are_said_and_hold_nothing_up(found: RecordedSample | None, number: int, told: str) -> None:
    asked = [as_good(each) for each in range(number)]
    found = found or RecordedSample(tuple(each.request for each in asked))
    seen = compare(found, asked, wanted=200, tolerance=None, at=1.0)
    ruled = rule(seen, BacktestLimits(), environment=PRODUCTION)
    assert ruled.ruling is Ruling.GO_ON
    assert told in ruled.message


def test_few_records_that_are_all_refused_are_evidence_all_the_same() -> None:
    seen = all_of(5, lambda number: AskedRequest(recorded(number, 1), (refused(),), (answered(1),)))
    assert rule(seen, BacktestLimits(), environment=STAGING).ruling is Ruling.FAIL


ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
REPLIES = st.one_of(
    st.lists(ANSWERS, max_size=3).map(lambda each: answered(*each)),
    st.just(refused()),
    st.just(failed()),
    st.just(Reply(ReplyKind.ANSWERED, 0.001)),
)


@pytest.mark.slow
@given(st.lists(st.tuples(st.lists(ANSWERS, min_size=1, max_size=3), REPLIES, st.none() | REPLIES), max_size=8))
def test_whatever_is_answered_comes_to_a_report(made: list[tuple[list[Any], Reply, Reply | None]]) -> None:
    asked = [
        AskedRequest(recorded(number, *theirs, features=theirs[0]), (mine,), (now,) if now is not None else ())
        for number, (theirs, mine, now) in enumerate(made)
    ]
    seen = report(asked)
    assert seen.refusals.hits + seen.failures.hits + seen.disagreements.of <= len(asked)
    for each in (seen.refusals, seen.failures, seen.disagreements):
        assert 0 <= each.hits <= each.of
    assert rule(seen, BacktestLimits(), environment=PRODUCTION).message


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40), st.integers(0, 40))
def test_a_spread_sample_takes_from_each_group_as_evenly_as_there_is(items: list[tuple[int, int]], most: int) -> None:
    taken = spread(items, most, by=(lambda each: each[0], lambda each: each[1]))
    assert len(taken) == min(most, len(items))
    remaining = list(items)
    for each in taken:
        remaining.remove(each)
    for group in {each[0] for each in remaining}:
        mine = sum(each[0] == group for each in taken)
        assert all(sum(each[0] == other for each in taken) <= mine + 1 for other in {each[0] for each in taken})


def test_the_newest_of_each_group_are_taken_first() -> None:
    items = [(hour, caller, age) for age in range(10) for hour in (0, 1) for caller in ("a", "b")]
    taken = spread(items, 4, by=(lambda each: each[0], lambda each: each[1]))
    assert sorted(taken) == [(0, "a", 0), (0, "b", 0), (1, "a", 0), (1, "b", 0)]


def test_parts_name_what_is_most_of_it() -> None:
    seen = all_of(60, lambda n: AskedRequest(recorded(n, 1), (refused(f"features.f{n % 12}"),), (answered(1),)))
    assert len(seen.refused_fields) == 5
    assert seen.refused_fields[0] == DifferingPart("features.f0", 5, 60, ("r-0", "r-12", "r-24"))
