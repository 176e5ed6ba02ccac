"""Figures, and how all of them are shown: a table for people, one line of JSON for programs."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number and its bar, which is the most it may be unless it is `at_least`.

    `measured` is None where it could not be measured; `beside` says what it is compared with, or why there is none.
    """

    name: str
    measured: float | None
    bar: float
    unit: str
    beside: str
    at_least: bool = False

    @property
    def holds(self) -> bool:
        if self.measured is None:
            return False
        return self.measured >= self.bar if self.at_least else self.measured <= self.bar


def table(figures: Iterable[Figure]) -> Table:
    shown = Table("figure", "measured", "bar", "compared with", "")
    for figure in figures:
        shown.add_row(
            figure.name,
            "-" if figure.measured is None else _with_unit(figure.measured, figure.unit),
            f"{'at least' if figure.at_least else 'at most'} {_with_unit(figure.bar, figure.unit)}",
            figure.beside,
            "[green]pass[/green]" if figure.holds else "[red]FAIL[/red]",
        )
    return shown


def line(figures: Sequence[Figure]) -> str:
    """Return the figures as one line of JSON."""
    said = [{**asdict(figure), "holds": figure.holds} for figure in figures]
    return json.dumps({"holds": all_hold(figures), "figures": said})


def all_hold(figures: Sequence[Figure]) -> bool:
    """Return whether all figures hold. A run that measured nothing shows nothing, and so doesn't hold."""
    return bool(figures) and all(figure.holds for figure in figures)


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of the values, with no interpolation beyond the extremes."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _with_unit(value: float, unit: str) -> str:
    number = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    return f"{number.removesuffix('.00')}{'' if unit == 'x' else ' '}{unit}".rstrip()
