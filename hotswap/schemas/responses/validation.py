"""The validation report of a version, with a row per check."""

from datetime import datetime

from hotswap.domain.validation import CheckOutcome
from hotswap.schemas.responses.base import View


class CheckView(View):
    """A check. `passed` is null if it doesn't apply, as `outcome` says too; `overridden` if an Admin lets it pass."""

    name: str
    outcome: CheckOutcome
    passed: bool | None
    overridden: bool = False
    detail: str


class OverrideView(View):
    """A failed check of a version that an Admin lets pass, and why."""

    checks: list[str]
    by: str
    reason: str
    at: datetime | None = None


class ValidationView(View):
    """A validation report. `passed` counts overridden checks as passed; `override` are those of this report."""

    passed: bool
    checks: list[CheckView]
    override: OverrideView | None = None


class VersionValidationView(View):
    """The newest report of a version, null before its first deployment, and the override from the next one on."""

    model: str
    version: str
    deployment_id: str | None
    at: datetime | None
    report: ValidationView | None
    override: OverrideView | None
