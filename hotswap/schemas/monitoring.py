"""Monitoring configuration of a model once it serves, as people write it."""

from pydantic import ConfigDict, Field

from hotswap.domain.monitoring import MonitoringPolicy, OnDegraded
from hotswap.schemas.base import Message
from hotswap.schemas.fields import Flag, Number, Whole


class MonitoringConfig(Message):
    """The monitoring of a model, in every environment where a version of it is active."""

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
