"""Inputs and results of workflows."""

from datetime import datetime, timedelta

from hotswap.domain.approval import FourEyes
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.promotion import PromotionRule
from hotswap.domain.registry import Registration
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.messages.carried import CarriedState
from hotswap.schemas.base import Message
from hotswap.schemas.strategy.canary import CanaryConfig


class DeploymentInput(Message):
    """Starts workflow `Deployment` with id `deployment/{environment}/{model}`.

    `promotion` and `four_eyes` are the rules that were in force when it was accepted; it is held to them as it runs.
    With `recover` it takes over from a run that was lost: it only ends what that run began. `emergency` is why it can't
    wait: then it skips its bakes, and no backtest holds it up. `carried` is the state of the run that this
    one continues.
    """

    deployment_id: str
    kind: DeploymentKind = DeploymentKind.ROLLOUT
    environment: Environment
    model: str
    version: str
    initiated_by: str
    config: CanaryConfig = CanaryConfig()
    approval_required: bool = False
    four_eyes: FourEyes | None = None
    promotion: PromotionRule | None = None
    keep_previous: timedelta = timedelta(minutes=30)
    warmup_timeout: timedelta = timedelta(minutes=2)
    queue_deadline: timedelta = timedelta(days=30)
    recover: bool = False
    emergency: str | None = None
    carried: CarriedState | None = None


class QueueInput(Message):
    """Starts workflow `Queue` with id `queue/{deployment_id}`, which starts that deployment when its turn has come.

    The rest is of the run that this one continues: `waits_until` is when the wait for the turn ends (Unix time,
    seconds), and `aborted` are the runs that were told to end.
    """

    request: DeploymentInput
    start_at: datetime | None = None
    supersedes: bool = False
    waits_until: float | None = None
    aborted: tuple[str, ...] = ()


class DeploymentOutcome(Message):
    """The end of a deployment; also the workflow's result."""

    deployment_id: str
    status: DeploymentStatus
    reason: Reason
    message: str


class RegistrationInput(Message):
    """Starts workflow `Registration` with id `registration/{model}/{version}`."""

    registration: Registration


class RetirementInput(Message):
    """Starts workflow `Retirement` with id `retirement/{application}`: stops a replaced version's replicas later."""

    application: str
    model: str
    environment: Environment
    after: timedelta


class ScalingInput(Message):
    """Starts workflow `Scaling` with id `scaling/{application}`: so many replicas of what serves, by a deadline."""

    application: str
    deployment_id: str
    replicas: int
    by: str
    reason: str | None = None
    deadline: timedelta = timedelta(minutes=10)


class ScalingOutcome(Message):
    before: int
    replicas: int
