"""Counts that only grow, whatever restarts between two looks at Envoy."""

from pathlib import Path

import pytest

from hotswap.domain.traffic import Counts
from serving.counting import FORGET_SECONDS, GrowingCounts
from serving.envoy.admin import AnswerCounters, read_tally

SERVING = frozenset({"a"})


@pytest.fixture
def counting(tmp_path: Path) -> GrowingCounts:
    return GrowingCounts(tmp_path / "counts.json")


def test_a_restart_loses_nothing_even_if_more_is_answered_than_before(counting: GrowingCounts) -> None:
    counting.add(AnswerCounters(100, {"a": Counts(10, 8, 0, latency={"50": 2})}), serving=SERVING, now=1_000)
    # Envoy is back, and shows nothing of a cluster that nobody has asked yet.
    counting.add(AnswerCounters(1, {}), serving=SERVING, now=1_010)
    counting.add(AnswerCounters(2, {"a": Counts(24, 0, 0, latency={"50": 24})}), serving=SERVING, now=1_011)
    assert counting.totals["a"] == Counts(34, 8, 0, latency={"50": 26})


def test_counts_only_grow_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    counting = GrowingCounts(path)
    counting.add(AnswerCounters(100, {"a": Counts(50, 5)}), serving={"a"}, now=1_000)
    counting.add(AnswerCounters(101, {"a": Counts(60, 6)}), serving={"a"}, now=1_001)
    again = GrowingCounts(path)
    again.add(AnswerCounters(102, {"a": Counts(61, 6)}), serving={"a"}, now=1_002)
    assert again.totals["a"] == Counts(61, 6)
    again.add(AnswerCounters(3, {"a": Counts(70, 0)}), serving={"a"}, now=1_010)
    assert again.totals["a"] == Counts(131, 6)
    again.add(AnswerCounters(4, {"a": Counts(1, 0)}), serving={"a"}, now=1_011)
    assert again.totals["a"] == Counts(132, 6)


@pytest.mark.parametrize(
    ("again", "since"),
    [
        (Counts(20, 8, 0, latency={"50": 2}), Counts(10)),
        (Counts(12, 1, 3, latency={"50": 2}), Counts(2, 1, 2)),
        (Counts(5, 5), Counts(5, 5)),
        (Counts(20, 8, 1, latency={"60": 12}), Counts(10, latency={"60": 12})),
    ],
)
def test_a_figure_that_shrank_began_again_and_the_others_did_not(
    counting: GrowingCounts, again: Counts, since: Counts
) -> None:
    before = Counts(10, 8, 1, latency={"50": 2})
    counting.add(AnswerCounters(100, {"a": before}), serving=SERVING, now=1_000)
    counting.add(AnswerCounters(101, {"a": again}), serving=SERVING, now=1_001)
    assert counting.totals["a"] == before + since


def test_a_cluster_that_was_gone_counts_from_0(counting: GrowingCounts) -> None:
    counting.add(AnswerCounters(100, {"a": Counts(10, 8)}), serving=SERVING, now=1_000)
    counting.add(AnswerCounters(101, {}), serving=SERVING, now=1_001)
    counting.add(AnswerCounters(102, {"a": Counts(20, 1)}), serving=SERVING, now=1_002)
    assert counting.totals["a"] == Counts(30, 9)


def test_a_latency_that_envoy_merges_late_is_not_a_restart(counting: GrowingCounts) -> None:
    counting.add(AnswerCounters(100, {"a": Counts(10)}), serving=SERVING, now=1_000)
    counting.add(AnswerCounters(101, {"a": Counts(10, latency={"50": 10})}), serving=SERVING, now=1_001)
    assert counting.totals["a"] == Counts(10, latency={"50": 10})


def test_a_damaged_file_is_a_new_beginning(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text("{")
    counting = GrowingCounts(tmp_path / "counts.json")
    counting.add(AnswerCounters(1, {"a": Counts(1)}), serving=SERVING, now=1)
    assert GrowingCounts(tmp_path / "counts.json").totals == {"a": Counts(1)}


def test_what_is_long_gone_is_forgotten_though_envoy_still_shows_it(counting: GrowingCounts) -> None:
    shown = {"a": Counts(1), "b": Counts(1)}
    counting.add(AnswerCounters(100, shown), serving={"a", "b"}, now=1_000)
    for later in (1, int(FORGET_SECONDS), int(FORGET_SECONDS) + 1, int(FORGET_SECONDS) + 2):
        counting.add(AnswerCounters(100 + later, shown), serving=SERVING, now=1_000 + later)
        assert ("b" in counting.totals) == (later <= FORGET_SECONDS)
    assert counting.totals["a"] == Counts(1), "what serves is kept, however seldom it is asked"


def test_what_comes_back_to_serve_is_counted_from_what_it_had(counting: GrowingCounts) -> None:
    counting.add(AnswerCounters(100, {"a": Counts(5)}), serving=frozenset(), now=1_000)
    assert counting.totals == {}
    counting.add(AnswerCounters(101, {"a": Counts(7)}), serving=SERVING, now=1_001)
    assert counting.totals == {"a": Counts(7)}


def test_an_envoys_own_account_is_read_by_application_and_class_of_status() -> None:
    def bucket(lower: float, count: int) -> dict[str, float]:
        return {"lower_bound": lower, "width": 10, "count": count}

    told = {
        "stats": [
            {"name": "server.uptime", "value": 9},
            *(
                {"name": f"hotswap.hotswap_answers.application.{application}.status.{status}", "value": value}
                for application, status, value in (
                    ("a", 200, 4), ("a", 404, 1), ("a", 500, 2), ("a", 503, 1), ("a", 0, 7), ("-", 401, 3),
                    ("a@fallback", 500, 8),
                )
            ),
            {
                "histograms": {
                    "details": [
                        {"name": "hotswap.hotswap_latency.application.a", "totals": [bucket(40, 1)]},
                        {
                            "name": "hotswap.hotswap_latency.application.a@fallback",
                            "totals": [bucket(40, 2), bucket(50, 1)],
                        },
                    ]
                }
            },
        ]
    }  # fmt: skip
    assert read_tally(told) == AnswerCounters(9, {"a": Counts(8, 3, 1, latency={"50": 3, "60": 1})})
