"""The quality of a version's predictions by the outcomes reported: pure, from sums that can be added up.

A prediction and its outcome make one `QualityScore`. Scores add up in an `OutcomeTally`, and tallies of any times and
versions add up to the same `Quality` as their scores would. So the memory is bounded, whatever the number of requests:
a confusion matrix knows `MOST_LABELS` labels, and counts further ones together as `OTHER`. A prediction that can't be
scored (a list of probabilities, a label for a number) has no score: it is neither a success nor a failure.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from hotswap.domain.outcomes import LARGEST, LONGEST_LABEL, PredictionLabel, label
from hotswap.domain.vocabulary import ModelType

MOST_LABELS = 100
OTHER = "(other)"
Confusion = dict[str, dict[str, int]]
"""Counts of how often each label (first key) was predicted as which (second key)."""


class Task(StrEnum):
    """The kind of a prediction: one label of several, or a number whose distance matters."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


_TASKS = {
    ModelType.CLASSIFICATION: Task.CLASSIFICATION,
    ModelType.COMPUTER_VISION: Task.CLASSIFICATION,
    ModelType.REGRESSION: Task.REGRESSION,
    ModelType.TIME_SERIES: Task.REGRESSION,
}


@dataclass(frozen=True, slots=True)
class QualityScore:
    """One prediction beside its outcome. `error` is the outcome's distance from it, None of a label."""

    predicted: str
    actual: str
    error: float | None = None

    @property
    def value(self) -> float:
        """The value to compare between versions, more is better: 1 or 0 of a label, minus the distance of a number."""
        return -abs(self.error) if self.error is not None else float(self.predicted == self.actual)


def scored(prediction: str, outcome: str, *, model: str) -> QualityScore | None:
    """Score a record's prediction (JSON) by an outcome (a `label`) and the model's type; None where that is impossible.

    Where the type doesn't say what the predictions are, they do: numbers with a fraction are a regression's.
    """
    try:
        value = json.loads(prediction)
    except (ValueError, RecursionError):
        return None
    while isinstance(value, list) and len(value) == 1:
        (value,) = value
    if not isinstance(value, str | bool | int | float):
        return None
    task = _TASKS.get(ModelType(model), Task.REGRESSION if isinstance(value, float) else Task.CLASSIFICATION)
    if task is Task.CLASSIFICATION:
        predicted = label(value)
        return QualityScore(predicted, outcome) if len(predicted) <= LONGEST_LABEL else None
    numbers = _number(value), _number(outcome)
    if numbers[0] is None or numbers[1] is None:
        return None
    return QualityScore(label(value), outcome, numbers[1] - numbers[0])


def _number(value: PredictionLabel) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) <= LARGEST else None


@dataclass(slots=True)
class OutcomeTally:
    """Sums of scores. `labels` were scored as labels, `correct` of them rightly; `numbers` as numbers."""

    labels: int = 0
    correct: int = 0
    numbers: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    confusion: Confusion = field(default_factory=dict)

    def add(self, score: QualityScore, times: int = 1) -> None:
        """Count a score; `times` is -1 for one that another outcome has replaced."""
        if score.error is not None:
            self.numbers += times
            self.absolute += times * abs(score.error)
            self.squared += times * score.error**2
            return
        self.labels += times
        self.correct += times * (score.predicted == score.actual)
        self._confuse(score.actual, score.predicted, times)

    def merge(self, other: "OutcomeTally") -> None:
        self.labels += other.labels
        self.correct += other.correct
        self.numbers += other.numbers
        self.absolute += other.absolute
        self.squared += other.squared
        for actual, row in other.confusion.items():
            for predicted, count in row.items():
                self._confuse(actual, predicted, count)

    def _confuse(self, actual: str, predicted: str, count: int) -> None:
        actual, predicted = self._known(actual), self._known(predicted)
        row = self.confusion.setdefault(actual, {})
        row[predicted] = row.get(predicted, 0) + count

    def _known(self, name: str) -> str:
        if name in self.confusion:
            return name
        # Every label that is known has a row, also one that was only predicted: so rows are all there is to count.
        if len(self.confusion) - (OTHER in self.confusion) < MOST_LABELS:
            self.confusion[name] = {}
            return name
        self.confusion.setdefault(OTHER, {})
        return OTHER


@dataclass(frozen=True, slots=True)
class Binary:
    """Precision, recall and F1 of two labels, for `positive`, the greater of them."""

    positive: str
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of predictions; None if nothing is known. Precision, recall and F1 are means over the labels (macro).

    `labels` is how many outcomes were scored as labels, `numbers` how many as numbers.
    """

    labels: int = 0
    numbers: int = 0
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    binary: Binary | None = None
    mae: float | None = None
    rmse: float | None = None
    confusion: Confusion = field(default_factory=dict)

    @property
    def scored(self) -> int:
        return self.labels + self.numbers


def quality(tallies: Iterable[OutcomeTally]) -> Quality:
    """Return the quality of all tallies together."""
    total = OutcomeTally()
    for tally in tallies:
        total.merge(tally)
    seen = {actual: {name: count for name, count in row.items() if count} for actual, row in total.confusion.items()}
    names = sorted({*(name for name, row in seen.items() if row), *(name for row in seen.values() for name in row)})
    told = {name: _told(seen, name) for name in names if name != OTHER}
    binary = Binary(max(told), *told[max(told)]) if len(names) == len(told) == 2 else None
    means = [sum(each) / len(told) for each in zip(*told.values(), strict=True)] if told else [None] * 3
    return Quality(
        labels=total.labels,
        numbers=total.numbers,
        accuracy=total.correct / total.labels if total.labels > 0 else None,
        precision=means[0],
        recall=means[1],
        f1=means[2],
        binary=binary,
        mae=max(total.absolute, 0.0) / total.numbers if total.numbers > 0 else None,
        rmse=math.sqrt(max(total.squared, 0.0) / total.numbers) if total.numbers > 0 else None,
        confusion={name: row for name, row in seen.items() if row},
    )


def _told(confusion: Confusion, name: str) -> tuple[float, float, float]:
    """Return precision, recall and F1 of one label; 0 where the denominator is 0, as scikit-learn does."""
    right = confusion.get(name, {}).get(name, 0)
    predicted = sum(row.get(name, 0) for row in confusion.values())
    actual = sum(confusion.get(name, {}).values())
    return (
        right / predicted if predicted else 0.0,
        right / actual if actual else 0.0,
        2 * right / (predicted + actual) if predicted + actual else 0.0,
    )
