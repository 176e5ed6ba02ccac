"""The validation report of a version before it sees traffic: one row per check, and the checks that an Admin overrode.

A report always has every row. A check that says nothing is NotApplicable, with the reason, and a report in which
nothing passed is no pass. An Admin can override what a person may judge better than a number. Nobody can override what
makes loading unsafe (other content, a hostile archive, a pickle), or what every replica refuses by itself.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from hotswap.domain.errors import Conflict, ValidationFailed

LATENCY_FACTOR = 1.2
"""A factor of the baseline's latency: at or above this the candidate is too slow."""
ACCURACY_FACTOR = 0.95
"""A factor of the baseline's accuracy: below this the candidate is not accurate enough."""


class CheckName(StrEnum):
    """The checks, in the order in which they are made; after a failure that loading depends on the rest is not made."""

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
    """The checks of a version that an Admin overrode, and the reason."""

    checks: tuple[str, ...]
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    checks: tuple[ValidationCheck, ...]
    override: Override | None = None

    def with_check(self, check: ValidationCheck) -> "ValidationReport":
        """Return the report with this row in place of the one of its name."""
        return replace(self, checks=tuple(check if each.name == check.name else each for each in self.checks))

    @property
    def passed(self) -> bool:
        """Return whether no check failed and at least one passed: an empty report is never a pass."""
        return any(check.passed for check in self.checks) and not self.failures

    @property
    def failures(self) -> tuple[ValidationCheck, ...]:
        """The checks that failed and were not overridden."""
        return tuple(check for check in self.checks if check.passed is False and not self.is_overridden(check))

    def is_overridden(self, check: ValidationCheck) -> bool:
        return (
            self.override is not None
            and check.passed is False
            and check.name in self.override.checks
            and check.name in OVERRIDABLE
        )


@dataclass(frozen=True, slots=True)
class StoredOverride:
    """The checks of a version that an Admin overrode, and when; it holds until it is taken back."""

    checks: list[str]
    reason: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LatestValidation:
    """The newest report of a version, its deployment, and the override that holds from the next deployment on."""

    report: ValidationReport | None = None
    deployment_id: str | None = None
    at: datetime | None = None
    override: StoredOverride | None = None


def checks_to_override(latest: LatestValidation, wanted: Collection[str]) -> list[str]:
    """Return the failed checks that an override of `wanted` lets pass; of none, all that failed and may be overridden.

    Only failed checks can be overridden, so nobody overrides a failure that nobody has seen. Raises Conflict where no
    check of that kind has failed, and ValidationFailed for checks that can't be overridden.
    """
    report = latest.report
    failed = [each.name for each in report.checks if each.outcome is CheckOutcome.FAILED] if report is not None else []
    if not failed:
        raise Conflict("its newest validation has no failed check, so there is nothing to override")
    overridable = ", ".join(sorted(OVERRIDABLE))
    if wrong := [name for name in wanted if name not in OVERRIDABLE]:
        raise ValidationFailed.of("checks", f"{', '.join(wrong)} can't be overridden; only {overridable} can")
    if wrong := [name for name in wanted if name not in failed]:
        raise Conflict(f"{', '.join(wrong)} has not failed in its newest validation, of {latest.deployment_id}")
    let_pass = [name for name in failed if name in (wanted or OVERRIDABLE)]
    if not let_pass:
        raise Conflict(
            f"these failed checks can't be overridden: {', '.join(failed)}; only {overridable} can. "
            "Register a corrected version"
        )
    return let_pass


def completed(checks: Iterable[ValidationCheck]) -> ValidationReport:
    """Return the report of these rows, in order; a check that wasn't made names the failure that prevented it."""
    made = {check.name: check for check in checks}
    failed = next((check.name for check in made.values() if check.passed is False), None)
    message = f"not looked at, since this failed: {failed}" if failed is not None else "not looked at"
    return ValidationReport(tuple(made.get(name) or ValidationCheck(name, None, message) for name in CheckName))
