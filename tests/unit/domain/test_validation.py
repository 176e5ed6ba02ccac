"""What a report says of a version: nothing untold passes, and only what may be let pass is let pass."""

import pytest

from hotswap.domain.validation import (
    OVERRIDABLE,
    CheckName,
    CheckOutcome,
    Override,
    ValidationCheck,
    ValidationReport,
    completed,
)
from serving import checks


def test_every_check_has_its_row_and_says_why_it_was_not_made() -> None:
    report = completed(
        [ValidationCheck(CheckName.ARTIFACT, True, ""), ValidationCheck(CheckName.SIZE, False, "3 of 2")]
    )
    assert [check.name for check in report.checks] == list(CheckName)
    assert {check.detail for check in report.checks[2:]} == {"not looked at, since this failed: size"}
    assert not report.passed


def test_an_empty_report_is_no_pass() -> None:
    assert not ValidationReport(()).passed
    assert not completed([]).passed


@pytest.mark.parametrize("name", CheckName)
def test_only_what_a_person_may_judge_can_be_let_pass(name: CheckName) -> None:
    rows = (ValidationCheck("something", True, ""), ValidationCheck(name, False, "bad"))
    report = ValidationReport(rows, Override(tuple(CheckName), by="root", reason="I say so"))
    assert report.passed is (name in OVERRIDABLE)
    assert report.is_overridden(rows[1]) is (name in OVERRIDABLE)


def test_what_makes_loading_unsafe_and_what_replicas_refuse_can_not_be_let_pass() -> None:
    hard = {
        CheckName.ARTIFACT,
        CheckName.SIZE,
        CheckName.CHECKSUM,
        CheckName.ARCHIVE,
        CheckName.REQUIREMENTS,
        CheckName.LOADS,
        CheckName.GOLDEN,
        CheckName.CONTRACT,  # accepted by a deployment, not of a version
    }
    assert set(CheckName) - hard == OVERRIDABLE


def test_an_override_of_one_check_lets_no_other_pass() -> None:
    rows = (
        ValidationCheck(CheckName.LATENCY, False, ""),
        ValidationCheck(CheckName.MEMORY, False, ""),
        ValidationCheck(CheckName.LOADS, True, ""),
    )
    report = ValidationReport(rows, Override((CheckName.LATENCY,), by="root", reason=""))
    assert report.failures == (rows[1],)


@pytest.mark.parametrize(
    ("measured", "baseline", "outcome"),
    [
        (11.9, 10.0, CheckOutcome.PASSED),
        (12.0, 10.0, CheckOutcome.FAILED),
        (12.0, None, CheckOutcome.NOT_APPLICABLE),
        (None, 10.0, CheckOutcome.NOT_APPLICABLE),
    ],
)
def test_latency_is_below_the_baseline_and_a_fifth(
    measured: float | None, baseline: float | None, outcome: CheckOutcome
) -> None:
    assert checks.latency(measured, baseline).outcome is outcome


@pytest.mark.parametrize(
    ("correct", "baseline", "outcome"),
    [
        (95, 1.0, CheckOutcome.PASSED),
        (94, 1.0, CheckOutcome.FAILED),
        (94, None, CheckOutcome.NOT_APPLICABLE),
    ],
)
def test_accuracy_is_at_least_nineteen_twentieths_of_the_baseline(
    correct: int, baseline: float | None, outcome: CheckOutcome
) -> None:
    assert checks.accuracy({"correct": correct, "total": 100, "problem": None}, baseline).outcome is outcome
