"""The validation report of a version, with a row per check."""

from datetime import datetime

from hotswap.domain.validation import CheckOutcome
from hotswap.schemas.responses.base import View


class CheckView(View):
    """`passed` None says that the check doesn't apply, as `outcome` does; `overridden` that an Admin let it pass."""

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
    """`passed` counts what is let pass; `override` is what was let pass of this report."""

    passed: bool
    checks: list[CheckView]
    override: OverrideView | None = None


class VersionValidationView(View):
    """The newest report of a version, None before its first deployment, and what is let pass from the next one on."""

    model: str
    version: str
    deployment_id: str | None
    at: datetime | None
    report: ValidationView | None
    override: OverrideView | None
