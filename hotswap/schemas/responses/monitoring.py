"""What is watched of a model once it serves, and what was found."""

from datetime import datetime

from hotswap.domain.monitoring import AlertKind, OnDegraded
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses.base import View


class MonitoringView(View):
    """A model's policy, in every environment: see `MonitoringConfig` for the fields."""

    model: str
    accuracy_drop: float
    samples: int
    on_degraded: OnDegraded
    drift: bool


class AlertView(View):
    """What was found of an active version; open until `resolvedAt`. `numbers` are what it was found by.

    `rollbackId` is the deployment that takes it back, where the model's policy `rollsBack`.
    """

    alert_id: str
    kind: AlertKind
    model: str
    version: str
    environment: Environment
    deployment_id: str
    at: datetime
    since: datetime
    message: str
    numbers: dict[str, float]
    rolls_back: bool
    rollback_id: str | None
    resolved_at: datetime | None
    resolution: str | None
