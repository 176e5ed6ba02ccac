"""Monitoring of a model once it serves, and its alerts."""

from datetime import datetime

from hotswap.domain.monitoring import AlertKind, OnDegraded
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses.base import View


class MonitoringView(View):
    """A model's monitoring policy, in every environment; `MonitoringConfig` describes the fields."""

    model: str
    accuracy_drop: float
    samples: int
    on_degraded: OnDegraded
    drift: bool


class AlertView(View):
    """An alert about an active version; open until `resolvedAt`. `numbers` are the figures that raised it.

    `rollbackId` is the deployment that rolls the version back, if the model's policy `rollsBack`.
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
