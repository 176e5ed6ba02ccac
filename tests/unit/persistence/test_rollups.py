"""A time as the fewest roll-ups, and a sketch whose quantiles are near enough."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotswap.domain.traffic import Counts
from hotswap.persistence.records.rollups import HOUR, MINUTE, SECOND, Piece, pieces
from hotswap.persistence.records.sketches import bin_of, quantiles


def test_whole_hours_are_taken_as_hours_and_only_the_ends_by_finer_ones() -> None:
    assert pieces(3_590, 7_261) == [
        Piece(SECOND, 3_590, 3_600),
        Piece(HOUR, 3_600, 7_200),
        Piece(MINUTE, 7_200, 7_260),
        Piece(SECOND, 7_260, 7_261),
    ]


@given(begin=st.integers(0, 10_000_000), length=st.integers(0, 1_000_000))
def test_the_pieces_are_the_time_exactly_and_few(begin: int, length: int) -> None:
    end = begin + length
    found = [piece for piece in pieces(begin, end) if piece.begin < piece.end]
    ends = [begin, *(piece.end for piece in found)]
    assert [piece.begin for piece in found] == ends[:-1], "no gap and no overlap"
    assert ends[-1] == end
    assert all(piece.begin % piece.width == piece.end % piece.width == 0 for piece in found)
    assert len(found) <= 5


@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_that_of_the_values_to_within_one_percent(values: list[float], quantile: float) -> None:
    bins: dict[str, int] = {}
    for value in values:
        name = bin_of(value)
        assert name is not None
        bins[name] = bins.get(name, 0) + 1
    (found,) = quantiles(bins, quantile)
    rank = math.floor(quantile * (len(values) - 1))
    assert found == pytest.approx(sorted(values)[rank], rel=0.0101)


def test_what_took_no_time_counts_and_what_is_no_time_does_not() -> None:
    assert quantiles({str(bin_of(0.0)): 3}, 0.5) == [0.0]
    assert [bin_of(value) for value in (math.nan, math.inf, -1.0)] == [None, None, None]
    assert quantiles({}, 0.5) == [None]


def test_each_figure_that_shrank_began_anew_by_itself() -> None:
    before = Counts(10, 4, 1, fell_back=3, sticky=5, sticky_errors=2, latency={"50": 6})
    now = Counts(12, 1, 1, fell_back=4, sticky=2, sticky_errors=2, latency={"50": 9})
    assert now.since(before) == Counts(2, 1, 0, fell_back=1, sticky=2, sticky_errors=0, latency={"50": 3})
