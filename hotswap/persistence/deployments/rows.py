"""What is asked of the database for people, and what it answers: frozen, so that nothing outside holds a session."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hotswap.domain.application import ReplicaResources
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.queueing import Place
from hotswap.domain.registry import VersionRef
from hotswap.domain.vocabulary import (
    DeploymentKind,
    Environment,
    Framework,
    ModelType,
    OnConflict,
    Strategy,
)
from hotswap.persistence.tables import (
    Deployment,
    Model,
    ModelVersion,
)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """`active_versions` and `aliases` are of versions' numbers."""

    model: Model
    active_versions: dict[Environment, str]
    aliases: dict[str, str]

    def aliases_of(self, version: str) -> tuple[str, ...]:
        return tuple(alias for alias, named in self.aliases.items() if named == version)


@dataclass(frozen=True, slots=True)
class VersionRow:
    version: ModelVersion
    ref: VersionRef
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewDeployment:
    """What the API accepts; `version` None takes the newest deployable one."""

    model: str
    version: str | None
    environment: Environment
    strategy: Strategy
    strategy_config: dict[str, Any]
    resources: ReplicaResources
    initiated_by: str
    kind: DeploymentKind = DeploymentKind.ROLLOUT
    idempotency_key: str | None = None
    on_conflict: OnConflict | None = None
    start_at: datetime | None = None
    accept_contract_change: bool = False
    emergency: str | None = None
    """Why it can't wait for its bakes; None where it does."""
    says_resources: bool = False
    """Whether `resources` were asked for, and are not what a deployment has by default."""
    queued_request: Callable[[str, VersionRef], dict[str, Any]] | None = None
    """Makes what starts it when its turn comes, of its id and version; None for one that is started at once."""

    @property
    def waits(self) -> bool:
        """Whether it is accepted while another of its model is under way, or long before its start."""
        return self.start_at is not None or self.on_conflict in {OnConflict.QUEUE, OnConflict.SUPERSEDE}


@dataclass(frozen=True, slots=True)
class StepVerdict:
    step: int
    verdict: dict[str, Any]
    judged_at: datetime


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    deployment: Deployment
    model: str
    version: str
    previous_version: str | None
    analysis: tuple[StepVerdict, ...] = ()
    place: Place | None = None

    @property
    def is_queued(self) -> bool:
        """Whether it waits for its turn, and no workflow of its own has taken it up."""
        row = self.deployment
        return row.queued_request is not None and row.run_id is None and row.status == DeploymentStatus.PENDING


@dataclass(frozen=True, slots=True)
class WantedModels:
    """What is looked for; None is whatever there is. `name` is a part of it."""

    framework: Framework | None = None
    type: ModelType | None = None
    team: str | None = None
    owner: str | None = None
    tag: str | None = None
    name: str | None = None
    is_archived: bool = False


@dataclass(frozen=True, slots=True)
class WantedDeployments:
    """What is looked for; None is whatever there is. `since` is included, `until` is not."""

    model: str | None = None
    version: str | None = None
    environment: Environment | None = None
    statuses: Sequence[DeploymentStatus] = ()
    kind: DeploymentKind | None = None
    initiated_by: str | None = None
    since: datetime | None = None
    until: datetime | None = None


ANY_MODEL = WantedModels()
ANY_DEPLOYMENT = WantedDeployments()
