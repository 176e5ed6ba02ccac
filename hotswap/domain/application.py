"""One immutable Ray Serve application per deployment: its name is also Envoy's cluster and the route prefix."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hotswap.domain.recording import Recording
from hotswap.domain.vocabulary import Environment, Framework


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """An artifact whose content is known: nothing is loaded whose sha256 differs."""

    uri: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ReplicaResources:
    """Resources of a deployment's replicas; `gpus` and `cpus` are per replica and may be fractions.

    `replicas` are those that all of the traffic needs. With bounds, both or none, Ray Serve scales by load within them.
    A replica gathers single requests into one call of the model if `max_batch_size` is more than 1.
    """

    replicas: int = 1
    gpus: float = 0.0
    cpus: float = 0.25
    max_ongoing_requests: int = 64
    min_replicas: int | None = None
    max_replicas: int | None = None
    max_batch_size: int = 1
    batch_wait_seconds: float = 0.0

    @property
    def scales_by_load(self) -> bool:
        return self.max_replicas is not None


@dataclass(frozen=True, slots=True)
class ApplicationSpec:
    """Everything that a replica is made of. Two specs of one name are equal: an application is never updated."""

    name: str
    deployment_id: str
    environment: Environment
    model: str
    version: str
    framework: Framework
    artifact: ArtifactRef
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    resources: ReplicaResources = field(default_factory=ReplicaResources)
    warmup_timeout_seconds: float = 120.0
    requirements: tuple[str, ...] = ()
    """Exact versions of packages that its replicas have beyond what is installed."""
    recording: Recording = field(default_factory=Recording)


@dataclass(frozen=True, slots=True)
class Desired:
    """An application that should exist: `replicas` of it now, where all of the traffic needs `full`.

    Of one that scales by load, `replicas` are the fewest it may have now. One that is desired with 0 replicas keeps its
    name and its place, and runs nowhere.
    """

    spec: ApplicationSpec
    replicas: int
    full: int

    @classmethod
    def at_rest(cls, spec: ApplicationSpec) -> "Desired":
        """Return the application as it is outside of deployments."""
        fewest = spec.resources.min_replicas if spec.resources.min_replicas is not None else spec.resources.replicas
        return cls(spec, fewest, spec.resources.replicas)


def application_name(environment: Environment, model: str, deployment_id: str) -> str:
    """Return the application's name, `Production-fraud-detection-1a2b3c4d`: unique, and short enough to type."""
    return f"{environment}-{model}-{deployment_id.removeprefix('dep-')[:8]}"


class ApplicationHealth(StrEnum):
    """The health of an application by Ray Serve, with what decisions need."""

    STARTING = "Starting"
    RUNNING = "Running"
    FAILED = "Failed"
    STOPPING = "Stopping"


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """An application as Ray Serve shows it: `targets` are `host:port` of the replicas that can be sent requests.

    `told` are the replicas (of what scales by load, the fewest) of the configuration that Serve was last given, and
    `wanted` those that it works towards; None where it doesn't say. While it `is_building` it works towards none yet,
    and any new configuration makes it begin anew.
    """

    name: str
    health: ApplicationHealth
    message: str = ""
    targets: tuple[str, ...] = ()
    wanted: int | None = None
    told: int | None = None
    is_building: bool = False
