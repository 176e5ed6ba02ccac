"""Outcomes: what predictions should have been, as labels or numbers, each with one spelling.

Scores of predictions by their outcomes are in `hotswap/analysis/quality.py`.
"""

LONGEST_LABEL = 128
LARGEST = 1e15
"""The largest number that is scored: sums of squares stay exact enough, and finite for ever."""

PredictionLabel = str | bool | int | float


def label(value: PredictionLabel) -> str:
    """Return the one spelling of a label, so that 1, 1.0 and "1" are the same."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) <= LARGEST:
            return str(int(value))
        case _:
            return str(value)
