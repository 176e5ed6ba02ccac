"""What the API says of things, in types: the API writes these, the Python client and the CLI read them.

A reader ignores what it doesn't know, so that an older client gets along with a newer server. Names in JSON are
camelCase; percentages are 0 to 100 with hundredths, times are ISO-8601 in UTC, durations are seconds.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.strategy import OnLimit
from hotswap.domain.vocabulary import DeploymentKind, Environment, Framework, ModelType, Strategy, VersionStatus


class View(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, protected_namespaces=()
    )

    def to_json(self) -> dict[str, Any]:
        """As it travels."""
        return self.model_dump(mode="json", by_alias=True)


Item = TypeVar("Item", bound=View)


class Page(View, Generic[Item]):
    """One page of a list, newest first; there is more while `offset + len(items) < total`."""

    items: list[Item]
    total: int
    limit: int
    offset: int


class LatencyView(View):
    """In milliseconds; each is None where nothing was measured."""

    average: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class ClientView(View):
    """What clients saw, by the proxies: every answer, also those that no replica gave.

    `fellBack` are those that a version failed and its stable answered in its place; each is one of `failed`. The
    latencies are bounds: no more than half of the answers took longer than `p50`.
    """

    total: int
    failed: int
    refused: int
    fell_back: int
    latency_ms: LatencyView


class MetricsView(View):
    """A model over `[begin, end)`, or one version of it. What only a shadow answered is no part of it.

    By the replicas' records: `total` is `succeeded`, `failed` (the model's fault) and `refused` (the request's), a
    batch being one; `successRate` leaves out what was refused. `latencyMs` is the time in the replica.
    """

    model_id: str
    model: str
    environment: Environment
    version: str | None
    begin: datetime
    end: datetime
    total: int
    succeeded: int
    failed: int
    refused: int
    success_rate: float | None
    requests_per_second: float
    latency_ms: LatencyView
    confidence: float | None
    prediction: float | None
    """The mean of the predictions, where they are numbers."""
    clients: ClientView
    accuracy: float | None = None
    quality: dict[str, Any] = {}
    drift: dict[str, Any] = {}


class ModelView(View):
    """`activeVersion` is Production's, `activeVersions` holds every environment's that has one.

    `idempotent`: whether a request that a candidate fails is answered by the stable.
    """

    model_id: str
    name: str
    description: str | None
    framework: Framework
    type: ModelType
    owner: str
    team: str | None
    tags: list[str]
    idempotent: bool
    active_version: str | None
    active_versions: dict[Environment, str]
    is_archived: bool
    created_at: datetime
    updated_at: datetime


class VersionView(View):
    version_id: str
    model_id: str
    model: str
    version: str
    framework: Framework
    artifact_path: str
    checksum: str
    artifact_size_bytes: int
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    training_metadata: dict[str, Any]
    performance_baseline: dict[str, Any]
    status: VersionStatus
    approved_by: str | None
    approved_at: datetime | None
    is_deprecated: bool
    created_by: str
    created_at: datetime


class FeatureDriftView(View):
    """`distance` is the larger of PSI and KS statistic that chance doesn't explain; the p-values say how well it does.

    `ks` is None for categories.
    """

    kind: str
    samples: int
    distance: float
    is_drifted: bool
    psi: float
    psi_p: float
    ks: float | None
    ks_p: float | None


class DriftView(View):
    """How far what an active version was asked since then is from its `reference`: its training, or its own past.

    `distance` (of the feature that is the furthest) and `isDrifted` are None where it can't be told, as `message` says.
    """

    model: str
    version: str
    environment: Environment
    at: datetime
    since: datetime
    reference: str
    samples: int
    distance: float | None
    is_drifted: bool | None
    message: str
    features: dict[str, FeatureDriftView]


class RegistrationStatus(StrEnum):
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"


class ProblemView(View):
    """What is wrong with one field of a request."""

    field: str
    message: str


class ErrorView(View):
    """What every error is: `code` is for programs, `details` name the fields, `traceId` finds it in the log."""

    code: str
    message: str
    details: list[ProblemView]
    trace_id: str
    timestamp: datetime


class ErrorBody(View):
    error: ErrorView


class RegistrationView(View):
    """How far a registration is; a failed one says why, with the code that an error of the API would have."""

    model: str
    version: str
    status: RegistrationStatus
    workflow_id: str
    code: str | None = None
    message: str | None = None
    details: list[ProblemView] = []


class ArmView(View):
    """`errorRate` is 0 to 1; latencies are None without a request."""

    requests: int = 0
    errors: int = 0
    error_rate: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None


class MetricView(View):
    """What the judge said of one metric, with the numbers it used. One that isn't `required` holds nobody up."""

    name: str
    judge: str
    outcome: str
    message: str
    required: bool = True
    numbers: dict[str, float] = {}


class VerdictView(View):
    """What the judge said of one step (counted from 1), the newest of each analysis.

    `outcome` is Pass, Harm, InsufficientData, Inconclusive or Error.
    """

    step: int
    outcome: str
    reason: str | None
    message: str
    candidate: ArmView
    stable: ArmView
    metrics: list[MetricView] = []
    judged_at: datetime | None


class StepState(StrEnum):
    DONE = "done"
    CURRENT = "current"
    WAITING = "waiting"


class PauseView(View):
    """A wait for an approval; without `limitSeconds` for as long as it takes, after it as `onLimit` says."""

    limit_seconds: float | None
    on_limit: OnLimit


class StepView(View):
    """`number` counts from 1, `weight` is in percent; a `pause` comes after the bake.

    Of a deployment that was rolled back, only the steps that had passed are done.
    """

    number: int
    weight: float
    bake_seconds: float
    judged: bool = True
    pause: PauseView | None = None
    state: StepState


class CheckView(View):
    """`passed` None says that the check doesn't apply."""

    name: str
    passed: bool | None
    detail: str


class ValidationView(View):
    passed: bool
    checks: list[CheckView]


class ResourcesView(View):
    """What each replica asks of the cluster, and how many all of the traffic needs; with bounds it scales by load."""

    replicas: int
    gpus: float
    cpus: float
    min_replicas: int | None = None
    max_replicas: int | None = None


class DeploymentView(View):
    """`trafficPercentage` is what the proxies confirmed, never what was wished for.

    `queuePosition` is the place in line of one that waits for its turn or for a slot: 1 is next.
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
    analysis: list[VerdictView]
    workflow_id: str
    run_id: str | None
    initiated_by: str
    started_at: datetime
    completed_at: datetime | None
    is_rolled_back: bool
    queue_position: int | None = None
    start_at: datetime | None = None


class FreezeView(View):
    """A time in which nothing new starts in an environment."""

    freeze_id: str
    environment: Environment
    reason: str
    starts_at: datetime
    until: datetime
    created_by: str
    is_in_force: bool


class Accepted(View):
    """A deployment that was accepted; it goes on by itself. Where it waits first, `message` says for what."""

    deployment_id: str
    model: str
    version: str
    environment: Environment
    kind: DeploymentKind
    status: DeploymentStatus
    workflow_id: str
    queue_position: int | None = None
    message: str | None = None


class DifferenceView(View):
    """`path` such as `inputSchema.properties.amount.type`; null is what isn't there on that side."""

    path: str
    now: Any
    then: Any


class RefusalView(View):
    """What `POST /deployments` would answer as an error now; `code` is that error's."""

    code: str
    message: str


class GpuSumView(View):
    """Replicas times GPUs of each arm in full; `peak` is the most that both have at one time."""

    candidate: float
    stable: float
    peak: float


class ServingView(View):
    """What serves in an environment now."""

    version: str
    deployment_id: str
    since: datetime


class DryRunView(View):
    """What a deployment would do, if it were started now; nothing was.

    It `wouldBeAccepted` when there are no `refusals`. Seconds are those of the steps alone: `leastSeconds` where each
    bake passes at its end and each pause is ended at once, `mostSeconds` where bakes are extended and pauses last to
    their limits; null where a pause has none. `capacity` is by which way the two versions would get past each other,
    null where they can't or Ray doesn't say. Without `serving` it would be the first here, with no `differences`.
    """

    model: str
    version: str
    environment: Environment
    strategy: Strategy
    would_be_accepted: bool
    refusals: list[RefusalView]
    approval_required: bool
    steps: list[StepView]
    least_seconds: float
    most_seconds: float | None
    gpus: GpuSumView
    capacity: str | None = None
    serving: ServingView | None
    differences: list[DifferenceView]


class AnswerView(View):
    """What came of approve, promote, abort or rollback.

    `deploymentId` is another than the one asked about where a rollback started a new deployment. With `confirmed`
    false no worker answered: what was said is recorded and takes effect as soon as one does.
    """

    deployment_id: str
    status: DeploymentStatus
    message: str
    confirmed: bool = True
    workflow_id: str


class HappeningKind(StrEnum):
    """What a line of an explanation is about."""

    STATUS = "status"
    WEIGHT = "weight"
    ANALYSIS = "analysis"
    APPROVAL = "approval"
    WORD = "word"
    """What somebody said or did: a request, a verb, what was noted."""


class RuledMetricView(MetricView):
    """A metric with the rule that it was judged by.

    `threshold`, `minimum` and `maximum` are the rule's as far as its judge has them; `logEvidence` is the natural
    logarithm of the evidence of harm so far, all steps before included.
    """

    reason: str | None = None
    threshold: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    log_evidence: float = 0.0


class AnalysisView(View):
    """One analysis of one step (counted from 1) at `weight` percent, as of its newest verdict.

    `ledTo` says what came of it; null while nothing has.
    """

    step: int
    weight: float
    begun_at: datetime
    judged_at: datetime
    outcome: str
    reason: str | None
    message: str
    candidate: ArmView
    stable: ArmView
    metrics: list[RuledMetricView]
    led_to: str | None


class HappeningView(View):
    """One thing that happened: what, by whom, and why. `weight` is the verified one, in percent."""

    at: datetime
    kind: HappeningKind
    actor: str
    what: str
    why: str | None = None
    weight: float | None = None
    analysis: AnalysisView | None = None


class ExplanationView(View):
    """Why a deployment is where it is: all that is on record of it, in order of time."""

    deployment_id: str
    model: str
    version: str
    previous_version: str | None
    environment: Environment
    status: DeploymentStatus
    reason: str | None
    message: str | None
    happenings: list[HappeningView]


class ReplayedStepView(View):
    """How one recorded analysis of a step (counted from 1) ends under the policy.

    `end` is Passed, Held, RolledBack, NotKnown or NotReached; `afterSeconds` is counted from the time its weight was
    verified. `outcome`, `reason` and `metrics` are those of the last verdict; `recorded` is the outcome that was.
    """

    step: int
    weight: float
    begun_at: datetime
    looks: int
    recorded: str
    end: str
    after_seconds: float | None
    outcome: str | None
    reason: str | None
    message: str
    metrics: list[MetricView] = []


class ReplayView(View):
    """A past deployment judged again: where it would have ended, and each of its analyses."""

    deployment_id: str
    recorded_status: DeploymentStatus
    end: str
    message: str
    steps: list[ReplayedStepView]


class PredictionView(View):
    request_id: str
    model_name: str
    version: str
    prediction: Any
    confidence: float | None = None
    latency_ms: float | None = None
    timestamp: datetime | None = None


class BatchPredictionView(View):
    request_id: str
    model_name: str
    version: str
    predictions: list[Any]
    total_latency_ms: float | None = None


class OutcomesTaken(View):
    """How many outcomes were taken; what they belong to shows later."""

    accepted: int


class TokenView(View):
    """`expiresIn` in seconds."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - a scheme, no secret
    expires_in: int
