"""The words by which the audit log names what was done: those who write events and those who read them use these.

They are stored, shown by `hotswap audit`, and asked for by people: a word stays as it is.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class AuditAction(StrEnum):
    # Of a deployment
    APPROVE = "approve"
    BACKTEST = "backtest"
    BAKE_EXTENDED = "bake extended"
    CAPACITY_PLAN = "capacity plan"
    CHANGE_ROUTE = "change route"
    FIRST_VERSION = "first version"
    MAKE_ACTIVE = "make active"
    MAKE_INACTIVE = "make inactive"
    SCALE = "scale"
    WEIGHT_VERIFIED = "weight verified"
    # Of a model or a version
    ALERT_RESOLVED = "alert resolved"
    ALIAS = "alias"
    ARCHIVE = "archive"
    CHANGE_MODEL = "change model"
    DEPRECATE = "deprecate"
    DESCRIBE = "describe"
    OVERRIDE_VALIDATION = "override validation"
    PUSH = "push"
    REGISTER = "register"
    RESTORE = "restore"
    SET_MONITORING = "set monitoring"
    WITHDRAW_OVERRIDE = "withdraw override"
    # Of the installation
    RECONCILE = "reconcile"
    # Of an environment, a token, an artifact or a proxy
    ABORT_UPLOAD = "abort upload"
    COLLECT_GARBAGE = "collect garbage"
    CREATE_TOKEN = "create token"  # noqa: S105 - a word, no secret
    EXCHANGE_TOKEN = "exchange token"  # noqa: S105 - a word, no secret
    FREEZE = "freeze"
    REMOVE_PROXY = "remove proxy"
    REVOKE_TOKEN = "revoke token"  # noqa: S105 - a word, no secret
    ROTATE_TOKEN = "rotate token"  # noqa: S105 - a word, no secret
    THAW = "thaw"


class AuditActions(StrEnum):
    """Actions of one kind, of which each goes on with what it is about: `status Active`, `says abort`."""

    ALERT = "alert"
    """Goes on with the kind of an alert that was opened."""
    REQUEST = "request"
    """Goes on with the kind of a deployment that was asked for."""
    SAYS = "says"
    """Goes on with a verb that somebody whose name was checked is about to say to a deployment."""
    STATUS = "status"
    """Goes on with the new status of a deployment or a version."""

    def of(self, what: str) -> str:
        """Return the action that goes on with `what`."""
        return f"{self} {what}"

    def about(self, action: str) -> str | None:
        """Return what an action of this kind goes on with, None for one of another kind."""
        kind, _, what = action.partition(" ")
        return what if kind == self and what else None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An event of the audit log; `number` orders them, and `before` and `after` say what it changed."""

    number: int
    at: datetime
    actor: str
    action: str
    target_type: str
    target_id: str
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    trace_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditChange:
    """A change that an audit event is written of; `reason` None is the reason of the request that is served."""

    actor: str
    action: AuditAction
    reason: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
