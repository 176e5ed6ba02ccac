"""Which failures of a backtest are the candidate's: what is no answer, and how far the stable fails as well."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.analysis.shares import ALPHA, always_at_least, excess_at_least, tally
from hotswap.domain.backtest import AskedRequest, BacktestLimits, Reply, ReplyTally, Ruling, rule
from hotswap.domain.vocabulary import Environment
from tests.unit.analysis.backtested import all_of, answered, failed, recorded

HALF = ALPHA / 2
PRODUCTION, STAGING = Environment.PRODUCTION, Environment.STAGING


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (failed("500"), "500"),
        (failed("no answer within 5 s"), "no answer within 5 s"),
        (answered(None), "an answer that is no finite number"),
        (answered([1.0, None]), "an answer that is no finite number"),
        (answered(1.0, 1.0), "another number of answers than of instances"),
    ],
)
def test_what_is_no_answer_is_a_failure(reply: Reply, problem: str) -> None:
    seen = all_of(50, lambda number: AskedRequest(recorded(number, 0.5 + number), (reply,), (answered(0.5),)))
    assert (seen.failures.hits, seen.failures.of) == (50, 50)
    assert [(each.name, each.hits) for each in seen.failure_kinds] == [(problem, 50)]
    assert seen.disagreements == ReplyTally(), "it has answered nothing that could differ"
    assert rule(seen, BacktestLimits(), environment=STAGING).ruling is Ruling.FAIL


def test_a_null_of_a_version_that_may_answer_so_is_another_answer_and_no_failure() -> None:
    reply = replace(answered(None), may_be_null=True)
    seen = all_of(50, lambda number: AskedRequest(recorded(number, 0.5 + number), (reply,), (answered(0.5),)))
    assert seen.failures.hits == 0
    assert seen.disagreements.hits == 50


def test_a_null_that_the_stable_answers_too_is_an_answer() -> None:
    seen = all_of(50, lambda number: AskedRequest(recorded(number, None), (answered(None),), (answered(None),)))
    assert (seen.failures.hits, seen.disagreements) == (0, tally(0, 50))


def test_what_fails_only_among_others_is_a_failure() -> None:
    seen = all_of(
        50, lambda number: AskedRequest(recorded(number, 1), (answered(1), failed("503")), (answered(1), answered(1)))
    )
    assert (seen.failures.hits, seen.failures.of) == (50, 50)
    assert rule(seen, BacktestLimits(), environment=STAGING).ruling is Ruling.FAIL


def test_what_fails_while_the_stable_fails_too_is_everybodys() -> None:
    seen = all_of(
        50, lambda n: AskedRequest(recorded(n, 1), (answered(1), failed("503")), (answered(1), failed("503")))
    )
    assert (seen.failures, seen.left_out) == (tally(0, 50), 0)


@pytest.mark.parametrize(
    ("worse", "better", "both", "ruling"),
    [
        pytest.param(10, 9, 1, Ruling.GO_ON, id="both fail 5% by chance"),
        pytest.param(19, 9, 1, Ruling.GO_ON, id="5%, and by chance twice as often"),
        pytest.param(45, 40, 10, Ruling.GO_ON, id="both fail a quarter"),
        pytest.param(13, 0, 0, Ruling.GO_ON, id="just short of evidence"),
        pytest.param(14, 0, 0, Ruling.FAIL, id="7%, and the stable none"),
        pytest.param(40, 10, 0, Ruling.FAIL, id="20%, and the stable 5%"),
        pytest.param(0, 40, 0, Ruling.GO_ON, id="it mends what the stable fails"),
    ],
)
def test_what_fails_now_and_then_counts_as_far_as_the_stable_fails_less(
    worse: int, better: int, both: int, ruling: Ruling
) -> None:
    """Each was asked again once, and was answered then."""

    def one(number: int) -> AskedRequest:
        request, mine = recorded(number, 1), number < worse + both
        theirs = worse <= number < worse + both + better
        replies = [failed() if each else answered(1) for each in (mine, theirs)]
        good = AskedRequest(request, (answered(1),), (answered(1),))
        return AskedRequest(request, (replies[0],), (replies[1],), again=(good,) if mine and not theirs else ())

    ruled = rule(all_of(200, one), BacktestLimits(), environment=PRODUCTION)
    assert ruled.ruling is ruling, ruled.message


@pytest.mark.parametrize(
    ("hits", "of", "again", "is_over"),
    [
        (7, 200, 4, False),
        (8, 200, 4, True),
        (3, 20, 4, True),
        (2, 5, 4, True),
        (8, 200, 1, False),
        (27, 200, 1, True),
        (4, 5, 0, False),
        (5, 5, 0, True),
    ],
)
@pytest.mark.parametrize("stable", [(answered(1),), ()])
def test_what_fails_each_time_it_is_asked_is_evidence_by_itself(
    hits: int, of: int, again: int, is_over: bool, stable: tuple[Reply, ...]
) -> None:
    def one(number: int) -> AskedRequest:
        if number >= hits:
            return AskedRequest(recorded(number, 1), (answered(1),), stable)
        broken = AskedRequest(recorded(number, 1), (failed(),), stable)
        return replace(broken, again=(broken,) * again)

    seen = all_of(of, one)
    assert (seen.failures.hits, seen.failures.of) == (hits, of)
    assert seen.failures.is_over(BacktestLimits().failures) is is_over


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.2, 0.35, 0.5])
def test_two_versions_that_fail_alike_are_told_apart_as_seldom_as_alpha_says(rate: float) -> None:
    """Exactly, over all that 200 pairs may come to: by both bounds together, for any excess above none."""
    of, alone = 200, rate * (1 - rate)
    wrong = 0.0
    for better in range(of // 2):
        shown = (
            worse for worse in range(better, of + 1 - better) if excess_at_least(worse, better, of, alpha=HALF) > 0
        )
        for worse in range(next(shown, of + 1), of + 1 - better):
            rest = of - worse - better
            ways = math.comb(of, better) * math.comb(of - better, worse)
            wrong += ways * alone ** (worse + better) * (1 - 2 * alone) ** rest
    for times in range(1, 6):
        each = alone**times
        chances = [math.comb(of, hits) * each**hits * (1 - each) ** (of - hits) for hits in range(of + 1)]
        are_shown = [always_at_least(hits, of, times=times, alpha=HALF) > 0 for hits in range(of + 1)]
        assert wrong + sum(chance for chance, is_shown in zip(chances, are_shown, strict=True) if is_shown) <= ALPHA


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 200), st.integers(1, 5))
def test_no_bound_is_above_what_was_seen(worse: int, better: int, rest: int, times: int) -> None:
    of = worse + better + rest
    assert 0 <= excess_at_least(worse, better, of, alpha=ALPHA) <= max(worse - better, 0) / of
    assert 0 <= always_at_least(worse, of, times=times, alpha=ALPHA) <= worse / of
