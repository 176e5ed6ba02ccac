"""What is watched of a model once it serves, as people write it, and what the monitor's activities take and give."""

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from hotswap.domain.monitoring import Alert, AlertKind, MonitoringPolicy, OnDegraded
from hotswap.messages.base import Message
from hotswap.messages.runs import DeploymentInput
from hotswap.values import Flag, Number, Whole


class MonitoringConfig(Message):
    """Of a model, in every environment where a version of it is active."""

    model_config = ConfigDict(json_schema_extra={"example": {"accuracyDrop": 0.05, "onDegraded": "rollback"}})

    accuracy_drop: Number = Field(
        0.05,
        gt=0,
        le=1,
        description="how much worse than before is too much: a share of the accuracy before, or, of numbers, of their "
        "mean absolute error",
    )
    samples: Whole = Field(50, ge=10, description="outcomes that it takes, before and since")
    on_degraded: OnDegraded = Field(
        OnDegraded.ALERT,
        description="alert, or rollback as well: to the version before, unless that is what a rollback left",
    )
    drift: Flag = Field(True, description="whether features that drift are worth an alert")

    def policy(self) -> MonitoringPolicy:
        return MonitoringPolicy(self.accuracy_drop, self.samples, self.on_degraded, self.drift)


class Event(Message):
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
    event: Event


class Found(Message):
    """What people have to be told of, and by which webhooks; and what is to be rolled back."""

    alerts: tuple[Alert, ...] = ()
    webhooks: tuple[str, ...] = ()
    to_roll_back: tuple[Alert, ...] = ()


class RaiseAlert(Message):
    """There is something wrong with what this deployment let serve."""

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
