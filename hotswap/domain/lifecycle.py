"""The status of a deployment, and the one table of allowed transitions."""

from enum import StrEnum

from hotswap.domain.errors import IllegalTransition


class DeploymentStatus(StrEnum):
    PENDING = "Pending"
    AWAITING_APPROVAL = "AwaitingApproval"
    VALIDATING = "Validating"
    DEPLOYING = "Deploying"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    PROMOTING = "Promoting"
    ACTIVE = "Active"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    CANCELLED = "Cancelled"
    FAILED = "Failed"

    @property
    def is_terminal(self) -> bool:
        return not TRANSITIONS[self]


_S = DeploymentStatus
_BEFORE_WEIGHT = frozenset({_S.CANCELLED, _S.FAILED, _S.ROLLING_BACK})

TRANSITIONS: dict[DeploymentStatus, frozenset[DeploymentStatus]] = {
    # A rollback goes to a version that was validated before, so it validates nothing.
    _S.PENDING: _BEFORE_WEIGHT | {_S.AWAITING_APPROVAL, _S.VALIDATING, _S.DEPLOYING},
    # What was approved may have to wait for its slot, or be on its way already when its backtest asks for a person.
    _S.AWAITING_APPROVAL: _BEFORE_WEIGHT | {_S.PENDING, _S.VALIDATING, _S.DEPLOYING},
    _S.VALIDATING: _BEFORE_WEIGHT | {_S.DEPLOYING},
    _S.DEPLOYING: _BEFORE_WEIGHT | {_S.PROGRESSING, _S.AWAITING_APPROVAL},
    # A model's first version that breaks its limits goes on serving, since nothing else could: that is Failed at once.
    _S.PROGRESSING: frozenset({_S.PAUSED, _S.PROMOTING, _S.ROLLING_BACK, _S.FAILED}),
    _S.PAUSED: frozenset({_S.PROGRESSING, _S.PROMOTING, _S.ROLLING_BACK, _S.FAILED}),
    _S.PROMOTING: frozenset({_S.ACTIVE, _S.ROLLING_BACK}),
    # The rollback of a deployment that never published a weight ends as Cancelled or Failed; RollbackFailed is Failed.
    _S.ROLLING_BACK: frozenset({_S.ROLLED_BACK, _S.CANCELLED, _S.FAILED}),
    _S.ACTIVE: frozenset(),
    _S.ROLLED_BACK: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.FAILED: frozenset(),
}


def check_transition(current: DeploymentStatus, target: DeploymentStatus) -> bool:
    """Return whether anything is to be done: moving to the current status is no transition.

    Raises IllegalTransition when `target` can't follow `current`.
    """
    if current == target:
        return False
    if target not in TRANSITIONS[current]:
        raise IllegalTransition(f"a deployment that is {current} can't become {target}")
    return True
