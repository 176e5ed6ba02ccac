"""Exit codes for how a followed deployment ended, on which a pipeline can branch.

`--help` and docs/cli.md document the codes. They are a contract: no code ever gets another meaning.
"""

from enum import IntEnum

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.verdict import Reason
from hotswap.schemas.responses import DeploymentView


class Exit(IntEnum):
    """Exit codes; a command without `--wait` ends with 0 or 1, too."""

    DONE = 0
    NOT_DONE = 1
    NOT_UNDERSTOOD = 2
    ROLLED_BACK = 3
    REJECTED = 4
    CANCELLED = 5
    FAILED = 6
    TIMED_OUT = 124  # as `timeout` of the coreutils
    INTERRUPTED = 130


FORWARD = (
    "Exit code when the deployment is followed: 0 Active, 3 rolled back, 4 rejected, 5 cancelled (or aborted before it "
    "got any traffic), 6 failed, 124 --timeout was reached first, 1 the request failed."
)
BACK = (
    "Exit code when the deployment is followed: 0 undone, 1 not undone (it was already Active, or the request failed), "
    "6 the rollback failed, 124 --timeout was reached first."
)


def forward(ended: DeploymentView) -> Exit:
    """Return the exit code of a command that wants the deployment Active."""
    match ended.status:
        case DeploymentStatus.ACTIVE:
            return Exit.DONE
        case DeploymentStatus.ROLLED_BACK:
            return Exit.ROLLED_BACK
        case DeploymentStatus.CANCELLED:
            return Exit.REJECTED if ended.reason == Reason.REJECTED else Exit.CANCELLED
        case _:
            return Exit.FAILED


def back(ended: DeploymentView) -> Exit:
    """Return the exit code of a command that wants the deployment undone."""
    match ended.status:
        case DeploymentStatus.ROLLED_BACK | DeploymentStatus.CANCELLED:
            return Exit.DONE
        case DeploymentStatus.ACTIVE:
            return Exit.NOT_DONE
        case _:
            return Exit.FAILED
