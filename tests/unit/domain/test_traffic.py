"""The plan's own rules: what a route, its fences and its counts may be."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Counts, Fence, Route
from hotswap.domain.vocabulary import ArmName, Environment

STABLE = Arm("Production-m-aaaa", "1.0.0", "dep-aaaa")
CANDIDATE = Arm("Production-m-bbbb", "2.0.0", "dep-bbbb")


def route(weight: int, *, stable: Arm | None = STABLE, candidate: Arm | None = CANDIDATE) -> Route:
    return Route(Environment.PRODUCTION, "m", stable, candidate, weight, Fence(1, 1))


@given(weight=st.integers(0, TOTAL_WEIGHT))
def test_weights_sum_to_10000_with_the_stable_first(weight: int) -> None:
    arms = route(weight).arms
    assert [name for name, _, _ in arms] == [ArmName.STABLE, ArmName.CANDIDATE]
    assert sum(share for _, _, share in arms) == TOTAL_WEIGHT


@pytest.mark.parametrize(
    "make",
    [
        lambda: route(-1),
        lambda: route(TOTAL_WEIGHT + 1),
        lambda: route(5, candidate=None),
        lambda: route(5, stable=None),
        lambda: route(0, stable=None, candidate=None),
    ],
)
def test_a_route_that_loses_requests_cannot_be_made(make: Any) -> None:
    with pytest.raises(ValidationFailed):
        make()


@given(st.tuples(st.integers(0, 9), st.integers(0, 9)), st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_of_two_fences_at_most_one_is_newer(one: tuple[int, int], other: tuple[int, int]) -> None:
    first, second = Fence(*one), Fence(*other)
    assert first.is_newer_than(second) + second.is_newer_than(first) == (one != other)


def test_counts_add_and_subtract_by_bucket() -> None:
    later = Counts(10, 2, 1, latency={"100": 7, "200": 3})
    assert later - Counts(4, 1, 1, latency={"100": 4}) == Counts(6, 1, latency={"100": 3, "200": 3})
    assert Counts() + later == later


@pytest.mark.parametrize("figure", [each.name for each in fields(Counts)])
def test_counts_of_which_any_figure_shrank_are_no_counts_of_the_same_proxies(figure: str) -> None:
    many: dict[str, Any] = {each.name: {"5000": 5} if each.name == "latency" else 5 for each in fields(Counts)}
    fewer: dict[str, Any] = {figure: {"5000": 4} if figure == "latency" else 4}
    before = Counts(**many)
    after = replace(before, **fewer)
    assert after.has_shrunk(before)
    assert not before.has_shrunk(before)
    assert not (before + after).has_shrunk(before)
    assert (before + after) - after == before
