"""What the reconciler found."""

from hotswap.domain.findings import FindingKind, Repair
from hotswap.schemas.responses.base import View


class FindingView(View):
    """A difference between what should be and what is. A null `repair` means that a person must act on `nextStep`."""

    kind: FindingKind
    subject: str
    expected: str
    actual: str
    repair: Repair | None
    next_step: str


class ReconciliationView(View):
    """The findings, and the ids of the workflows that a repair `started`.

    `confirmed` is false if the repair still runs.
    """

    findings: list[FindingView]
    started: list[str]
    confirmed: bool
