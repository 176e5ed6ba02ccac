"""What becomes of a version once it serves: what is watched of it, and what is found.

How a drop is told from chance is `hotswap/analysis/degradation.py`; what is then done is decided here.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from hotswap.domain.vocabulary import DeploymentKind, Environment

MONITOR = "monitor"
"""Who acts when an alert does."""


class OnDegraded(StrEnum):
    """What is done about an active version that predicts worse than before, beside telling people."""

    ALERT = "alert"
    ROLLBACK = "rollback"


class AlertKind(StrEnum):
    ACCURACY = "AccuracyDegraded"
    DRIFT = "Drifted"
    EMERGENCY = "EmergencyDeployed"
    """Of what serves without ever having baked, since somebody said that it can't wait."""
    FIRST_VERSION = "FirstVersionFailed"
    """Of what serves although it broke a first version's limits, since nothing else could."""


@dataclass(frozen=True, slots=True)
class MonitoringPolicy:
    """A model's, in every environment.

    `accuracy_drop` is relative: of the accuracy before, or, of predictions that are numbers, of their mean absolute
    error before. `samples` is the least number of outcomes on either side.
    """

    accuracy_drop: float = 0.05
    samples: int = 50
    on_degraded: OnDegraded = OnDegraded.ALERT
    drift: bool = True


@dataclass(frozen=True, slots=True)
class Active:
    """What serves a model in an environment, since when, and the version and application that served before it."""

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
    """What is wrong with an active version: since about when, and by which figures."""

    kind: AlertKind
    since: datetime
    message: str
    numbers: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding on record, open until `resolved_at`. Nobody is told twice of one."""

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
    """Whether a finding takes an active version back.

    Not one that a rollback has made active: where the version before does badly too, it is the world that has changed,
    and going to and fro between them helps nobody.
    """
    return (
        kind is AlertKind.ACCURACY
        and active.policy.on_degraded is OnDegraded.ROLLBACK
        and active.kind is not DeploymentKind.ROLLBACK
        and active.version_before is not None
    )
