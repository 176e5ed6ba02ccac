"""What is known of a version before it sees traffic: one row per check, and what an Admin let pass.

A report always has every row. What nothing could be said of is NotApplicable with the reason why, and a report in which
nothing passed is no pass. What can be let pass is what a person may judge better than a number; what makes loading
unsafe (another content, a hostile archive, a pickle), and what every replica refuses by itself, can't be.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

LATENCY_FACTOR = 1.2
"""Of the baseline's latency: at or above this the candidate is too slow."""
ACCURACY_FACTOR = 0.95
"""Of the baseline's accuracy: below this the candidate is not accurate enough."""


class CheckName(StrEnum):
    """In the order in which they are made: what comes after a failure that loading depends on is not made."""

    ARTIFACT = "artifact"
    SIZE = "size"
    CHECKSUM = "checksum"
    ARCHIVE = "archive"
    REQUIREMENTS = "requirements"
    LOADS = "model loads"
    SCHEMAS = "schemas"
    CONTRACT = "contract"
    GOLDEN = "golden requests"
    MEMORY = "memory"
    LATENCY = "latency"
    ACCURACY = "accuracy"


OVERRIDABLE = frozenset({CheckName.SCHEMAS, CheckName.MEMORY, CheckName.LATENCY, CheckName.ACCURACY})


class CheckOutcome(StrEnum):
    PASSED = "Passed"
    FAILED = "Failed"
    NOT_APPLICABLE = "NotApplicable"


@dataclass(frozen=True, slots=True)
class ValidationCheck:
    """One row of a validation report. `passed` None says that the check does not apply, and the detail says why."""

    name: str
    passed: bool | None
    detail: str

    @property
    def outcome(self) -> CheckOutcome:
        if self.passed is None:
            return CheckOutcome.NOT_APPLICABLE
        return CheckOutcome.PASSED if self.passed else CheckOutcome.FAILED


@dataclass(frozen=True, slots=True)
class Override:
    """What an Admin let pass of a version, and why."""

    checks: tuple[str, ...]
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    checks: tuple[ValidationCheck, ...]
    override: Override | None = None

    def with_check(self, check: ValidationCheck) -> "ValidationReport":
        """The report with this row in the place of the one of its name."""
        return replace(self, checks=tuple(check if each.name == check.name else each for each in self.checks))

    @property
    def passed(self) -> bool:
        """Nothing stands against it and something was looked at: an empty report is never a pass."""
        return any(check.passed for check in self.checks) and not self.failures

    @property
    def failures(self) -> tuple[ValidationCheck, ...]:
        """What stands against the version: failed, and not let pass."""
        return tuple(check for check in self.checks if check.passed is False and not self.is_overridden(check))

    def is_overridden(self, check: ValidationCheck) -> bool:
        return (
            self.override is not None
            and check.passed is False
            and check.name in self.override.checks
            and check.name in OVERRIDABLE
        )


def completed(checks: Iterable[ValidationCheck]) -> ValidationReport:
    """The report of these rows, in order; a check that wasn't made says which failure kept it from being made."""
    made = {check.name: check for check in checks}
    failed = next((check.name for check in made.values() if check.passed is False), None)
    message = f"not looked at, since this failed: {failed}" if failed is not None else "not looked at"
    return ValidationReport(tuple(made.get(name) or ValidationCheck(name, None, message) for name in CheckName))
