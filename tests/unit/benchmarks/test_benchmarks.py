"""What the benchmark says of figures: bars, table, exit. That the figures are good is for `make bench` to show."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from benchmarks import __main__ as command
from benchmarks.figure import Figure, all_hold, percentile, table

AT_MOST = Figure(name="latency", measured=5.0, bar=5, unit="ms", beside="another")
AT_LEAST = Figure(name="throughput", measured=8.0, bar=8, unit="x", beside="another", at_least=True)


@pytest.mark.parametrize(
    ("figure", "measured", "holds"),
    [
        (AT_MOST, 5.0, True),
        (AT_MOST, 5.01, False),
        (AT_MOST, None, False),
        (AT_LEAST, 8.0, True),
        (AT_LEAST, 7.99, False),
        (AT_LEAST, None, False),
    ],
)
def test_a_figure_holds_up_to_its_bar(figure: Figure, measured: float | None, holds: bool) -> None:
    assert replace(figure, measured=measured).holds is holds


def test_one_figure_short_fails_the_run_and_so_does_none_at_all() -> None:
    assert all_hold([AT_MOST, AT_LEAST])
    assert not all_hold([AT_MOST, replace(AT_LEAST, measured=1.0)])
    assert not all_hold([])


def test_the_table_says_figure_bar_and_verdict() -> None:
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(table([AT_MOST, replace(AT_LEAST, measured=0.5)]))
    said = shown.get()
    assert "at most 5 ms" in said
    assert "at least 8x" in said
    assert "0.50x" in said
    assert (said.count("pass"), said.count("FAIL")) == (1, 1)


def test_percentiles_are_of_what_was_seen() -> None:
    assert percentile([3.0], 99) == 3.0
    assert percentile([1.0, 2.0, 3.0], 50) == 2.0
    assert 2.9 < percentile([1.0, 2.0, 3.0], 99) <= 3.0


def _measures(figure: Figure) -> Callable[[], list[Figure]]:
    return lambda: [figure]


def _fails() -> list[Figure]:
    raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("part", "code"),
    [(_measures(AT_MOST), 0), (_measures(replace(AT_MOST, measured=6.0)), 1), (_fails, 1)],
)
def test_the_exit_code_and_the_last_line_tell_whether_all_hold(
    part: Callable[[], list[Figure]], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "ALONE", {"part": part})
    monkeypatch.setattr("sys.argv", ["benchmarks", "--only", "part"])
    assert command.main() == code
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["holds"] is (code == 0)
    assert len(said["figures"]) == 1
