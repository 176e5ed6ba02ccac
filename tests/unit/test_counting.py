"""Counts that only grow, whatever restarts between two looks at Envoy."""

from pathlib import Path

import pytest

from hotswap.domain.traffic import Counts
from serving.counting import FORGET_SECONDS, GrowingCounts
from serving.envoy.admin import Tally


@pytest.fixture
def counting(tmp_path: Path) -> GrowingCounts:
    return GrowingCounts(tmp_path / "counts.json")


def test_a_restart_loses_nothing_even_if_more_is_answered_than_before(counting: GrowingCounts) -> None:
    counting.add(Tally(100, {"a": Counts(10, 8, 0, {"50": 2})}), now=1_000)
    # Envoy is back, and shows nothing of a cluster that nobody has asked yet.
    counting.add(Tally(1, {}), now=1_010)
    counting.add(Tally(2, {"a": Counts(24, 0, 0, {"50": 24})}), now=1_011)
    assert counting.totals["a"] == Counts(34, 8, 0, {"50": 26})


@pytest.mark.parametrize(
    ("again", "since"),
    [
        (Counts(20, 8, 0, {"50": 2}), Counts(10)),
        (Counts(12, 1, 3, {"50": 2}), Counts(2, 1, 2)),
        (Counts(5, 5), Counts(5, 5)),
        (Counts(20, 8, 1, {"60": 12}), Counts(10, latency={"60": 12})),
    ],
)
def test_a_figure_that_shrank_began_again_and_the_others_did_not(
    counting: GrowingCounts, again: Counts, since: Counts
) -> None:
    before = Counts(10, 8, 1, {"50": 2})
    counting.add(Tally(100, {"a": before}), now=1_000)
    counting.add(Tally(101, {"a": again}), now=1_001)
    assert counting.totals["a"] == before + since


def test_a_cluster_that_was_gone_counts_from_0(counting: GrowingCounts) -> None:
    counting.add(Tally(100, {"a": Counts(10, 8)}), now=1_000)
    counting.add(Tally(101, {}), now=1_001)
    counting.add(Tally(102, {"a": Counts(20, 1)}), now=1_002)
    assert counting.totals["a"] == Counts(30, 9)


def test_a_latency_that_envoy_merges_late_is_not_a_restart(counting: GrowingCounts) -> None:
    counting.add(Tally(100, {"a": Counts(10)}), now=1_000)
    counting.add(Tally(101, {"a": Counts(10, latency={"50": 10})}), now=1_001)
    assert counting.totals["a"] == Counts(10, latency={"50": 10})


def test_a_damaged_file_is_a_new_beginning(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text("{")
    counting = GrowingCounts(tmp_path / "counts.json")
    counting.add(Tally(1, {"a": Counts(1)}), now=1)
    assert GrowingCounts(tmp_path / "counts.json").totals == {"a": Counts(1)}


def test_what_is_long_gone_is_forgotten(counting: GrowingCounts) -> None:
    counting.add(Tally(100, {"a": Counts(1), "b": Counts(1)}), now=1_000)
    later = int(FORGET_SECONDS) + 1
    counting.add(Tally(100 + later, {"b": Counts(1)}), now=1_000 + later)
    assert counting.totals.keys() == {"b"}
