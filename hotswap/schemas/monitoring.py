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
        description="how much worse raises an alert: a share of the accuracy before, or for numbers of the mean "
        "absolute error before",
    )
    samples: Whole = Field(50, ge=10, description="outcomes that are needed on each side, before and since")
    on_degraded: OnDegraded = Field(
        OnDegraded.ALERT,
        description="alert, or also roll back to the version before, unless a rollback has left that one",
    )
    drift: Flag = Field(True, description="whether drifting features raise an alert")

    def policy(self) -> MonitoringPolicy:
        return MonitoringPolicy(self.accuracy_drop, self.samples, self.on_degraded, self.drift)
