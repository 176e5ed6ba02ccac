"""How far apart distributions are: by hand, beside scipy's own tests, and where noise must not be taken for drift."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from hotswap.analysis.drift import FeatureKind, compare, furthest, ks, psi
from hotswap.domain.distributions import columns, registered, summarized
from hotswap.domain.errors import ValidationFailed


def test_psi_by_hand() -> None:
    by_hand = (0.5 - 0.25) * math.log(0.5 / 0.25) + (0.5 - 0.75) * math.log(0.5 / 0.75)
    assert psi([25, 75], [50, 50]) == pytest.approx(by_hand)
    assert psi([25, 75], [250, 750]) == pytest.approx(0)


def test_an_empty_bin_says_the_less_the_fewer_values_there_are() -> None:
    few, many = psi([50, 50, 5], [5, 5, 0]), psi([50, 50, 5], [5000, 5000, 0])
    assert 0 <= few < many < math.inf


def test_ks_is_what_scipy_says() -> None:
    chance = np.random.default_rng(1)
    for shift in (0.0, 0.1, 1.0):
        first, second = chance.normal(size=700), chance.normal(shift, size=400)
        theirs = stats.ks_2samp(first, second, method="asymp")
        assert ks(first, second) == pytest.approx(theirs.statistic)
        (found,) = compare(summarized({"x": list(first)}), {"x": list(second)}).values()
        assert found.ks == pytest.approx(theirs.statistic)
        assert found.ks_p == pytest.approx(theirs.pvalue, rel=0.2, abs=1e-3)


@pytest.mark.parametrize("samples", [200, pytest.param(5_000, marks=pytest.mark.slow)])
def test_noise_is_no_drift(samples: int) -> None:
    """Twenty features: at about 5% of the looks chance may be taken for drift, and never for one that rolls back."""
    chance = np.random.default_rng(samples)

    def drawn(rows: int) -> dict[str, Any]:
        numbers = {f"n{each}": list(chance.lognormal(size=rows)) for each in range(10)}
        categories = {f"c{each}": [f"v{v}" for v in chance.geometric(0.2, size=rows)] for each in range(10)}
        return {**numbers, **categories}

    reference = summarized(drawn(2_000))
    looks = [compare(reference, drawn(samples)) for _ in range(20)]
    assert all(len(look) == 20 for look in looks)
    assert sum(any(each.is_drifted for each in look.values()) for look in looks) <= 3
    assert max(furthest(look)[1] for look in looks) < 0.3


def test_a_shift_is_drift_and_names_its_feature() -> None:
    chance = np.random.default_rng(7)
    reference = summarized({"amount": list(chance.normal(size=2_000)), "hour": list(chance.normal(size=2_000))})
    found = compare(reference, {"amount": list(chance.normal(1.5, size=300)), "hour": list(chance.normal(size=300))})
    assert {name for name, each in found.items() if each.is_drifted} == {"amount"}
    name, distance = furthest(found)
    assert name == "amount"
    assert distance > 0.3


def test_a_difference_that_is_significant_and_tiny_is_no_drift() -> None:
    chance = np.random.default_rng(3)
    reference = summarized({"x": list(chance.normal(size=5_000))})
    (found,) = compare(reference, {"x": list(chance.normal(0.15, size=5_000))}).values()
    assert found.ks_p is not None
    assert found.ks_p < 0.001
    assert not found.is_drifted


def test_a_category_that_is_new_is_a_bin_of_its_own() -> None:
    reference = registered({"payment": {"categories": {"card": 0.7, "cash": 0.3}, "samples": 1_000}})
    as_before = ["card"] * 210 + ["cash"] * 90
    found = compare(reference, {"payment": as_before})["payment"]
    assert (found.kind, found.ks) == (FeatureKind.CATEGORICAL, None)
    assert found.psi == pytest.approx(0)
    assert compare(reference, {"payment": [*as_before, *["crypto"] * 100]})["payment"].is_drifted


def test_what_is_missing_is_a_bin_of_its_own() -> None:
    numbers: list[Any] = list(np.random.default_rng(5).normal(size=1_000))
    reference = summarized({"x": numbers})
    half = compare(reference, {"x": [*numbers[:200], *[None] * 200]})["x"]
    assert half.ks is not None
    assert half.ks < 0.1
    assert half.is_drifted
    gone = compare(reference, {"x": [None] * 300})["x"]
    assert gone.ks is None
    assert gone.is_drifted
    assert compare({**reference, **summarized({"y": numbers})}, {"x": numbers})["y"].is_drifted


def test_text_among_numbers_counts_as_missing() -> None:
    numbers: list[Any] = list(np.random.default_rng(5).normal(size=1_000))
    assert compare(summarized({"x": numbers}), {"x": [*numbers[:200], *["n/a"] * 200]})["x"].is_drifted


def test_many_rare_categories_are_one_bin_and_identifiers_are_not_compared() -> None:
    chance = np.random.default_rng(11)
    towns, seen = ([f"town-{each}" for each in chance.integers(0, 300, size=rows)] for rows in (5_000, 300))
    assert not compare(summarized({"town": towns}), {"town": seen})["town"].is_drifted
    users = summarized({"user": [f"user-{each}" for each in range(1_000)]})
    assert compare(users, {"user": [f"user-{each}" for each in range(1_000, 2_000)]}) == {}


def test_bins_are_compared_with_what_falls_into_them() -> None:
    chance = np.random.default_rng(13)
    shares = [0.1587, 0.3413, 0.3413, 0.1587]
    reference = registered({"x": {"edges": [-1, 0, 1], "counts": shares}})
    assert not compare(reference, {"x": list(chance.normal(size=1_000))})["x"].is_drifted
    shifted = compare(reference, {"x": list(chance.normal(1, size=1_000))})["x"]
    assert shifted.is_drifted
    assert shifted.ks == pytest.approx(0.3413, abs=0.05)


def test_nothing_is_compared_without_a_feature_in_common() -> None:
    assert compare(summarized({"amount": [1.0, 2.0, 3.0]}), {"0": [1.0]}) == {}
    assert compare({}, {"0": [1.0]}) == {}
    assert compare(summarized({"amount": [1.0]}), {}) == {}


def test_one_value_that_stays_is_no_drift_and_one_that_changes_is() -> None:
    reference = summarized({"x": [1.0] * 500})
    assert not compare(reference, {"x": [1.0] * 300})["x"].is_drifted
    assert compare(reference, {"x": [2.0] * 300})["x"].is_drifted


def test_features_of_lists_are_numbered_and_what_is_nested_is_left_out() -> None:
    assert columns([[1, "a"], [2, "b"]]) == {"0": [1, 2], "1": ["a", "b"]}
    assert columns([{"a": 1}, {"b": True, "image": [[0]]}]) == {"a": [1, None], "b": [None, True]}
    assert columns([None, 3]) == {"0": [3]}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (5, "must be a list of values"),
        ({}, "needs values"),
        ([], "has no value"),
        ([[1]], "must be a list of numbers or categories"),
        ({"edges": [2, 1], "counts": [1, 1, 1]}, "must ascend"),
        ({"edges": [1, 2], "counts": [1, 1]}, "one more than the edges"),
        ({"edges": [1], "counts": [1, -1]}, "of at least 0"),
        ({"edges": ["a"], "counts": [1, 1]}, "must be numbers"),
        ({"categories": {"a": 0}}, "not all of them 0"),
        ({"categories": {"a": 1}, "samples": 0}, "samples"),
        ({"categories": {"a": 1}, "missing": "x"}, "must be numbers"),
        ({"edges": [1], "counts": [1, 10**400]}, "must be numbers"),
        ([1.0] * 5_001, "give at most"),
    ],
)
def test_what_is_wrong_with_a_reference_names_its_feature(said: Any, why: str) -> None:
    with pytest.raises(ValidationFailed, match=why) as refused:
        registered({"amount": said})
    assert refused.value.details[0].field == "referenceDistribution.amount"
