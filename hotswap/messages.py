"""Every message that crosses Temporal: inputs and results of workflows and activities, and what people say to them.

What a person writes (strategy configuration, approve, abort, ...) is strict: an unknown key or a wrong type is refused
with the field named. All of it is JSON with camelCase names, so that it reads the same in the API, in the Temporal Web
UI and behind `temporal workflow signal --input`.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from hotswap.domain.application import ApplicationSpec
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.registry import Inspection, Registration, Unfinished, VersionRef
from hotswap.domain.strategy import Step, Thresholds, canary_steps
from hotswap.domain.traffic import Counts, TrafficChange
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind, Environment

TASK_QUEUE = "hotswap"


def watch_queue(task_queue: str) -> str:
    """Watches are long and many: a queue of their own keeps them from starving the activities that act."""
    return f"{task_queue}-watch"


DEPLOYMENT_MEMO = "deploymentId"
"""Which deployment a run of workflow `Deployment` works on; a reset keeps it."""

SEARCH_ATTRIBUTES = {
    "HotSwapModel": "Keyword",
    "HotSwapVersion": "Keyword",
    "HotSwapEnvironment": "Keyword",
    "HotSwapStatus": "Keyword",
    "HotSwapWeight": "Double",
}
"""Registered with the Temporal server before the first workflow starts; the weight is in percent."""


class Message(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, allow_inf_nan=False
    )


# --- what a deployment is asked to do ---------------------------------------------------------------------------------


class RollbackThresholds(Message):
    accuracy_drop: float = Field(0.05, ge=0, le=1)
    latency_increase: float = Field(1.5, ge=1)
    error_rate_increase: float = Field(0.01, ge=0, le=1)
    drift: float = Field(0.3, ge=0)


Duration = Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=30))]


class CanaryConfig(Message):
    """`strategyConfig` of a Canary; durations are ISO-8601.

    A bake with fewer than `minimumRequests` answered well by each arm is extended until `bakeDeadline` after its begin,
    and then rolls back; absent, it is three times the monitoring duration and at least a minute more.
    """

    canary_percentage: float = Field(
        10, gt=0, le=100, validation_alias=AliasChoices("canaryPercentage", "initialPercentage", "canary_percentage")
    )
    increment_step: float = Field(15, gt=0, le=100)
    monitoring_duration: Duration = timedelta(minutes=5)
    bake_deadline: Duration | None = None
    minimum_requests: int = Field(50, ge=1)
    progress_deadline: Annotated[timedelta, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = Field(
        timedelta(minutes=10), description="how long validating, starting replicas or verifying one weight may take"
    )
    approval_deadline: Duration = Field(timedelta(days=1), description="how long it may wait for an approval")
    rollback_thresholds: RollbackThresholds = Field(
        RollbackThresholds(),
        validation_alias=AliasChoices("rollbackThresholds", "thresholds", "rollback_thresholds"),
    )

    def steps(self) -> tuple[Step, ...]:
        """Raises ValidationFailed when they would be too many."""
        bake = self.monitoring_duration.total_seconds()
        deadline = self.bake_deadline.total_seconds() if self.bake_deadline is not None else max(3 * bake, bake + 60)
        return canary_steps(
            canary_percentage=self.canary_percentage,
            increment_step=self.increment_step,
            bake_seconds=bake,
            deadline_seconds=max(bake, deadline),
        )

    def thresholds(self) -> Thresholds:
        return Thresholds(
            error_rate_increase=self.rollback_thresholds.error_rate_increase,
            latency_increase=self.rollback_thresholds.latency_increase,
        )


class DeploymentInput(Message):
    """Starts workflow `Deployment` with id `deployment/{environment}/{model}`.

    With `recover` it takes over from a run that was lost: it only ends what that run began.
    """

    deployment_id: str
    kind: DeploymentKind = DeploymentKind.ROLLOUT
    environment: Environment
    model: str
    version: str
    initiated_by: str
    config: CanaryConfig = CanaryConfig()
    approval_required: bool = False
    keep_previous: timedelta = timedelta(minutes=30)
    warmup_timeout: timedelta = timedelta(minutes=2)
    recover: bool = False


class DeploymentOutcome(Message):
    """How a deployment ended; also the workflow's result."""

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


# --- what people say to a running deployment --------------------------------------------------------------------------

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Text = Annotated[str, StringConstraints(max_length=2_000)]

API = "api"


class Request(Message):
    """`by` is who asks. It is proven only when it came through the API; from elsewhere it is recorded as claimed."""

    by: Name
    reason: Text | None = None
    via: str | None = None

    @property
    def is_claimed(self) -> bool:
        return self.via != API

    @property
    def actor(self) -> str:
        return f"{self.by} (claimed)" if self.is_claimed else self.by


class Approve(Request):
    step: int | None = Field(None, ge=0, description="the wait that is meant; absent: the one that waits now")


class Reject(Request):
    pass


class Promote(Request):
    """Ends the present bake as passed; with `full` it goes to 100% at once."""

    full: bool = False


class Abort(Request):
    """Never refused: whatever could not be read of it is recorded, and it aborts all the same."""

    by: Name = "unknown"
    rollback: bool = Field(False, description="asked as a rollback: the same, under that reason")


class Answer(Message):
    """What an update answers: what was done, in one sentence."""

    accepted: bool
    message: str
    status: DeploymentStatus


# --- what activities take and give ------------------------------------------------------------------------------------


class Transition(Message):
    deployment_id: str
    status: DeploymentStatus
    message: str
    reason: Reason | None = None
    actor: str


class Decision(Message):
    """Something that changes no status but must be on record, once: the workflow makes `id`, a replay the same one."""

    id: str
    deployment_id: str
    kind: str
    actor: str
    message: str


class ApprovalGiven(Message):
    """`step` 0 is the start."""

    deployment_id: str
    step: int
    by: str
    claimed: bool


class Leftovers(Message):
    """What has not ended, and the applications that nothing routes to: one may be in work, the other be kept warm."""

    deployments: tuple[Unfinished, ...]
    orphans: tuple[ApplicationSpec, ...]


class AddVersion(Message):
    registration: Registration
    inspection: Inspection


class ValidateVersion(Message):
    deployment_id: str
    version: VersionRef


class SetWeight(Message):
    """`share` is what the deployment has of the traffic once this is verified (hundredths of a percent).

    It is the candidate's weight, but after promotion, when the candidate is the stable. `progress` is in percent.
    """

    change: TrafficChange
    share: int
    progress: int


class WithdrawCandidate(Message):
    """Takes all traffic from the candidate; `why` becomes the deployment's status as soon as that is published.

    `promoted` says that the registry's pointer may have moved and has to go back with the traffic.
    """

    change: TrafficChange
    why: Transition
    promoted: bool = False


class VerifiedWeight(Message):
    """What every registered proxy confirmed, and its cumulative counts at that moment: the bake's baseline.

    `verified_at` is Unix time in seconds.
    """

    weight: int
    verified_at: float
    proxies: tuple[str, ...]
    stable: Counts = Counts()
    candidate: Counts = Counts()


class Watch(Message):
    """Judge one step until `bake_until`, or while data is lacking until `deadline` (both Unix time, seconds).

    Everything that it needs is here, so a watch that is started again after a crash computes the same. `reference` is
    the stable's earlier counts where nothing runs beside the candidate any more, at 100%.
    """

    deployment_id: str
    step: int
    weight: int
    candidate: str
    stable: str
    baseline: VerifiedWeight
    reference: Counts | None
    prior_log_evidence: float
    minimum_requests: int
    thresholds: Thresholds
    bake_until: float
    deadline: float
