"""Deployments: accepted ones, their states, answers to commands, and freezes."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.strategy import OnLimit
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy
from hotswap.schemas.responses.backtest import BacktestView
from hotswap.schemas.responses.base import View
from hotswap.schemas.responses.validation import ValidationView
from hotswap.schemas.responses.verdicts import VerdictView


class StepState(StrEnum):
    DONE = "done"
    CURRENT = "current"
    WAITING = "waiting"


class PauseView(View):
    """A wait for an approval. `onLimit` says what happens after `limitSeconds`; without these it waits without end."""

    limit_seconds: float | None
    on_limit: OnLimit


class StepView(View):
    """A step. `number` counts from 1, `weight` is in percent; a `pause` comes after the bake.

    Of a deployment that was rolled back, only the steps that had passed are done.
    """

    number: int
    weight: float
    bake_seconds: float
    judged: bool = True
    pause: PauseView | None = None
    state: StepState


class ResourcesView(View):
    """The resources of each replica, and how many replicas all of the traffic needs; with bounds it scales by load.

    With `maxBatchSize` a replica gathers single requests into one call of the model.
    """

    replicas: int
    gpus: float
    cpus: float
    min_replicas: int | None = None
    max_replicas: int | None = None
    max_batch_size: int | None = None
    batch_wait: timedelta | None = None


class DeploymentView(View):
    """A deployment. `trafficPercentage` is what the proxies confirmed, never what was asked for.

    `queuePosition` is its place in the queue while it waits for its turn or for a slot: 1 is next. `emergency` is why
    it skips its bakes, null if it doesn't.
    """

    deployment_id: str
    model_id: str
    model: str
    version: str
    environment: Environment
    strategy: Strategy
    strategy_config: dict[str, Any]
    resources: ResourcesView
    kind: DeploymentKind
    status: DeploymentStatus
    reason: str | None
    message: str | None
    progress_percentage: int
    traffic_percentage: float
    steps: list[StepView]
    current_step: int | None
    bake_ends_at: datetime | None
    previous_version: str | None
    validation: ValidationView | None
    backtest: BacktestView | None = None
    analysis: list[VerdictView]
    workflow_id: str
    run_id: str | None
    initiated_by: str
    started_at: datetime
    completed_at: datetime | None
    is_rolled_back: bool
    queue_position: int | None = None
    start_at: datetime | None = None
    emergency: str | None = None


class FreezeView(View):
    """A time in which no rollout starts in an environment."""

    freeze_id: str
    environment: Environment
    reason: str
    starts_at: datetime
    until: datetime
    created_by: str
    is_in_force: bool


class Accepted(View):
    """A deployment that was accepted; it goes on by itself. If it waits first, `message` says for what."""

    deployment_id: str
    model: str
    version: str
    environment: Environment
    kind: DeploymentKind
    status: DeploymentStatus
    workflow_id: str
    queue_position: int | None = None
    message: str | None = None


class AnswerView(View):
    """The result of a command such as approve, promote, abort or rollback.

    `deploymentId` is another than the one asked about if a rollback started a new deployment. If `confirmed` is
    false, no worker answered: the command is recorded and takes effect as soon as a worker does.
    """

    deployment_id: str
    status: DeploymentStatus
    message: str
    confirmed: bool = True
    workflow_id: str
