"""What predictions were worth, by their outcomes: against scikit-learn, and added up in any order."""

import json
import math
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from hotswap.analysis.quality import MOST_LABELS, OTHER, OutcomeTally, QualityScore, quality, scored
from hotswap.domain.outcomes import label

LABELS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=60)
NUMBERS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=60)


def tally(scores: list[QualityScore]) -> OutcomeTally:
    made = OutcomeTally()
    for score in scores:
        made.add(score)
    return made


@given(LABELS)
def test_labels_are_judged_as_scikit_learn_does(pairs: list[tuple[str, str]]) -> None:
    actual, predicted = zip(*pairs, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        macro = metrics.precision_recall_fscore_support(actual, predicted, average="macro", zero_division=0)
    said = quality([tally([QualityScore(p, a) for a, p in pairs])])
    assert said.accuracy == pytest.approx(metrics.accuracy_score(actual, predicted))
    assert (said.precision, said.recall, said.f1) == pytest.approx(macro[:3])
    assert (said.labels, said.mae, said.rmse) == (len(pairs), None, None)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_two_labels_are_told_by_the_positive_one(pairs: list[tuple[bool, bool]]) -> None:
    actual, predicted = zip(*pairs, strict=True)
    said = quality([tally([QualityScore(label(p), label(a)) for a, p in pairs])])
    if len({*actual, *predicted}) < 2:
        assert said.binary is None
        return
    expected = metrics.precision_recall_fscore_support(actual, predicted, average="binary", zero_division=0)
    assert said.binary is not None
    assert said.binary.positive == "true"
    assert (said.binary.precision, said.binary.recall, said.binary.f1) == pytest.approx(expected[:3])


@given(NUMBERS)
def test_numbers_are_judged_as_scikit_learn_does(pairs: list[tuple[float, float]]) -> None:
    actual, predicted = zip(*pairs, strict=True)
    said = quality([tally([QualityScore(label(p), label(a), a - p) for a, p in pairs])])
    assert said.mae == pytest.approx(metrics.mean_absolute_error(actual, predicted))
    assert said.rmse == pytest.approx(metrics.root_mean_squared_error(actual, predicted))
    assert (said.numbers, said.accuracy, said.f1) == (len(pairs), None, None)


@given(LABELS, st.integers(0, 60))
def test_parts_add_up_to_the_whole(pairs: list[tuple[str, str]], cut: int) -> None:
    scores = [QualityScore(p, a) for a, p in pairs]
    assert quality([tally(scores[:cut]), tally(scores[cut:])]) == quality([tally(scores)])


@given(LABELS, st.sampled_from("abcd"))
def test_a_replaced_outcome_leaves_nothing(pairs: list[tuple[str, str]], other: str) -> None:
    scores = [QualityScore(p, a) for a, p in pairs]
    made = tally(scores)
    made.add(scores[0], -1)
    made.add(QualityScore(scores[0].predicted, other))
    assert quality([made]) == quality([tally([QualityScore(scores[0].predicted, other), *scores[1:]])])


def test_nothing_says_nothing() -> None:
    said = quality([])
    assert (said.scored, said.accuracy, said.precision, said.mae, said.binary) == (0, None, None, None, None)


def test_a_confusion_matrix_stays_small_and_its_sums_right() -> None:
    scores = [QualityScore(f"label-{number}", f"label-{number}") for number in range(3 * MOST_LABELS)]
    made = tally([*scores, QualityScore("label-0", "new"), QualityScore("newer", "label-0")])
    assert len(made.confusion) == MOST_LABELS + 1
    assert sum(sum(row.values()) for row in made.confusion.values()) == 3 * MOST_LABELS + 2
    assert made.confusion[OTHER][OTHER] == 2 * MOST_LABELS
    assert made.confusion[OTHER]["label-0"] == made.confusion["label-0"][OTHER] == 1
    said = quality([made])
    assert said.accuracy == pytest.approx(3 * MOST_LABELS / (3 * MOST_LABELS + 2))
    assert said.binary is None


@pytest.mark.parametrize(
    ("prediction", "outcome", "model", "value"),
    [
        (1, 1, "Classification", 1.0),
        (1, "1", "Classification", 1.0),
        (1.0, 1, "Classification", 1.0),
        (0, True, "Classification", 0.0),
        ("spam", "spam", "Other", 1.0),
        ([["spam"]], "ham", "Other", 0.0),
        (2, 3, "Other", 0.0),
        (2.0, 3, "Other", -1.0),
        (2, 4.5, "Regression", -2.5),
        ([2.5], 2, "TimeSeries", -0.5),
        ([0.2, 0.8], 1, "Classification", None),
        ({"a": 1}, 1, "Classification", None),
        (None, 1, "Classification", None),
        ("x" * 200, 1, "Classification", None),
        (2.0, "spam", "Regression", None),
        (True, 1, "Regression", None),
        (2.0, "1e300", "Regression", None),
        (2.0, "nan", "Regression", None),
    ],
)
def test_what_makes_a_score(prediction: Any, outcome: Any, model: str, value: float | None) -> None:
    score = scored(json.dumps(prediction), label(outcome), model=model)
    assert (score.value if score is not None else None) == value


@given(st.recursive(st.none() | st.text() | st.floats() | st.integers() | st.booleans(), st.lists), st.text())
def test_nothing_that_was_predicted_or_reported_is_too_much(prediction: Any, outcome: str) -> None:
    for model in ("Classification", "Regression", "Other"):
        score = scored(json.dumps(prediction), outcome, model=model)
        assert score is None or math.isfinite(score.value)
