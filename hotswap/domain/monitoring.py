"""Active versions: what is monitored about them, and what is done about a finding.

`hotswap/analysis/degradation.py` tells a drop from chance; the action that follows is decided here.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hotswap.domain.vocabulary import DeploymentKind, Environment

MONITOR = "monitor"
"""The actor of what an alert leads to."""


class OnDegraded(StrEnum):
    """The action about an active version that predicts worse than before, beside telling people."""

    ALERT = "alert"
    ROLLBACK = "rollback"


class AlertKind(StrEnum):
    ACCURACY = "AccuracyDegraded"
    DRIFT = "Drifted"
    EMERGENCY = "EmergencyDeployed"
    """An alert about a version that serves without a bake, since somebody said that it can't wait."""
    FIRST_VERSION = "FirstVersionFailed"
    """An alert about a version that serves although it broke a first version's limits, since nothing else could serve.
    """


@dataclass(frozen=True, slots=True)
class MonitoringPolicy:
    """A model's monitoring policy, the same in every environment.

    `accuracy_drop` is relative: of the accuracy before or, if predictions are numbers, of their mean absolute error
    before. `samples` is the least number of outcomes on either side.
    """

    accuracy_drop: float = 0.05
    samples: int = 50
    on_degraded: OnDegraded = OnDegraded.ALERT
    drift: bool = True


@dataclass(frozen=True, slots=True)
class Active:
    """The application that serves a model in an environment, since when, and the version that served before it."""

    model_id: str
    model: str
    environment: Environment
    version_id: str
    version: str
    application: str
    deployment_id: str
    kind: DeploymentKind
    since: datetime
    policy: MonitoringPolicy = MonitoringPolicy()
    version_before: str | None = None
    application_before: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of an active version: since about when, and by which figures."""

    kind: AlertKind
    since: datetime
    message: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """A recorded finding, open until `resolved_at`. Each alert is announced once."""

    alert_id: str
    kind: AlertKind
    model: str
    environment: Environment
    version: str
    deployment_id: str
    at: datetime
    since: datetime
    message: str
    numbers: dict[str, float] = field(default_factory=dict)
    rolls_back: bool = False
    rollback_id: str | None = None
    resolved_at: datetime | None = None
    resolution: str | None = None


def rolls_back(active: Active, kind: AlertKind) -> bool:
    """Return whether a finding rolls an active version back.

    A version that a rollback made active is not rolled back again: if the version before does badly too, the world has
    changed, and switching between them helps nobody.
    """
    return (
        kind is AlertKind.ACCURACY
        and active.policy.on_degraded is OnDegraded.ROLLBACK
        and active.kind is not DeploymentKind.ROLLBACK
        and active.version_before is not None
    )
