"""Inputs and results of the monitor's activities."""

from datetime import datetime
from typing import Any

from hotswap.domain.monitoring import Alert, AlertKind
from hotswap.messages.runs import DeploymentInput
from hotswap.schemas.base import Message


class AlertEvent(Message):
    """CloudEvents 1.0 in JSON, which is what webhooks are sent (https://cloudevents.io)."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    data: dict[str, Any]


class Announcement(Message):
    """Starts workflow `Announcement` with id `announcement/{webhook}/{event id}`; the settings know the webhook."""

    webhook: str
    event: AlertEvent


class MonitorFindings(Message):
    """Alerts that people have to be told, by these webhooks, and versions to roll back."""

    alerts: tuple[Alert, ...] = ()
    webhooks: tuple[str, ...] = ()
    to_roll_back: tuple[Alert, ...] = ()


class RaiseAlert(Message):
    """A problem with the version that this deployment made active."""

    deployment_id: str
    kind: AlertKind
    message: str


class RollbackRequest(Message):
    """The deployment that takes an active version back; None where that can't be now, as `message` says."""

    deployment: DeploymentInput | None = None
    message: str = ""


class RollbackStarted(Message):
    """`deployment_id` works on it; or, where `started` is false, never began."""

    alert_id: str
    deployment_id: str
    started: bool
