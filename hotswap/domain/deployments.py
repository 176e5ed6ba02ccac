"""A deployment: as it is asked for, and as it is on record."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hotswap.domain.application import ReplicaResources
from hotswap.domain.backtest import BacktestReport
from hotswap.domain.differences import Setup
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.queueing import QueuePosition
from hotswap.domain.validation import ValidationReport
from hotswap.domain.verdict import Verdict
from hotswap.domain.vocabulary import DeploymentKind, Environment, OnConflict, Strategy


@dataclass(frozen=True, slots=True)
class NewDeployment:
    """A deployment that somebody asks for; with `version` None it is of the newest version that can be deployed."""

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
    """The reason why it can't wait for its bakes; None if it does."""
    says_resources: bool = False
    """True if `resources` were requested, and are not a deployment's defaults."""

    @property
    def waits(self) -> bool:
        """Return whether it is accepted while another of its model is under way, or long before its start."""
        return self.start_at is not None or self.on_conflict in {OnConflict.QUEUE, OnConflict.SUPERSEDE}


@dataclass(frozen=True, slots=True)
class StepVerdict:
    """The verdict of one analysis of a step, which counts from 0."""

    step: int
    verdict: Verdict
    judged_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A deployment on record. `model` is the model's name, `version` a version's number.

    `progress_percentage` is the share of its steps that were passed. `verified_weight` is in hundredths of a percent.
    """

    deployment_id: str
    model_id: str
    model: str
    version: str
    previous_version: str | None
    kind: DeploymentKind
    strategy: Strategy
    environment: Environment
    strategy_config: dict[str, Any]
    resources: ReplicaResources
    status: DeploymentStatus
    reason: str | None = None
    message: str | None = None
    progress_percentage: int = 0
    verified_weight: int = 0
    verified_at: datetime | None = None
    validation: ValidationReport | None = None
    backtest: BacktestReport | None = None
    workflow_id: str
    run_id: str | None = None
    idempotency_key: str | None = None
    initiated_by: str
    started_at: datetime
    completed_at: datetime | None = None
    is_rolled_back: bool = False
    start_at: datetime | None = None
    accept_contract_change: bool = False
    emergency: str | None = None
    queued_request: dict[str, Any] | None = None
    """The input that starts it when its turn comes (`QueueInput`); None if it was started as soon as it was accepted.
    """
    analysis: tuple[StepVerdict, ...] = ()
    """The verdicts so far; lists leave them out."""
    place: QueuePosition | None = None
    """The place where it waits; None if it doesn't."""

    @property
    def is_queued(self) -> bool:
        """Return whether it waits for its turn, and no workflow of its own has taken it up."""
        return self.queued_request is not None and self.run_id is None and self.status is DeploymentStatus.PENDING


@dataclass(frozen=True, slots=True)
class ActiveDeployment:
    """The active version, its deployment, and all with which another deployment would be compared."""

    deployment_id: str
    application: str
    since: datetime
    setup: Setup


@dataclass(frozen=True, slots=True)
class WantedDeployments:
    """A search for deployments; None is whatever there is. `since` is included, `until` is not."""

    model: str | None = None
    version: str | None = None
    environment: Environment | None = None
    statuses: Sequence[DeploymentStatus] = ()
    kind: DeploymentKind | None = None
    initiated_by: str | None = None
    since: datetime | None = None
    until: datetime | None = None


ANY_DEPLOYMENT = WantedDeployments()


@dataclass(frozen=True, slots=True)
class Served:
    """A stretch of time in which a version served, with the people who deployed and approved it.

    `until` is None while it serves.
    """

    environment: Environment
    version: str
    deployment_id: str
    kind: DeploymentKind
    initiated_by: str
    approved_by: tuple[str, ...]
    since: datetime
    until: datetime | None
