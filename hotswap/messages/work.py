"""Inputs and results of activities."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from hotswap.domain.analysis import AnalysisPolicy, Subject
from hotswap.domain.application import ApplicationSpec
from hotswap.domain.capacity import CapacityPlan, ReplicaReadiness
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.registry import Inspection, Registration, VersionRef
from hotswap.domain.traffic import Counts, TrafficChange
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.base import Message
from hotswap.schemas.strategy.canary import CanaryConfig


class Transition(Message):
    deployment_id: str
    status: DeploymentStatus
    message: str
    reason: Reason | None = None
    actor: str


class Decision(Message):
    """Something that changes no status but must be on record, once: the workflow makes `id`, a replay the same one.

    `before` and `after` are what it changes of what is asked for. `trace_id` is that of who said it, where it isn't
    that of who started the workflow.
    """

    id: str
    deployment_id: str
    kind: str
    actor: str
    message: str
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    trace_id: str | None = None


class AwaitTurn(Message):
    """`aborted` are the runs that were told to end already, for one that supersedes them."""

    deployment_id: str
    aborted: tuple[str, ...] = ()


class QueueAction(StrEnum):
    """The next action of a deployment that waited for its turn."""

    START = "start"
    ABORT_OTHERS = "abort others"
    NOTHING = "nothing"


class Run(Message):
    """A deployment's workflow, and which run of it."""

    deployment_id: str
    workflow_id: str
    run_id: str


class QueueDecision(Message):
    call: QueueAction
    others: tuple[Run, ...] = ()


class LeaveQueue(Message):
    deployment_id: str
    status: DeploymentStatus
    reason: Reason
    message: str
    actor: str


class ApprovalGiven(Message):
    """`step` 0 is the start; one that `must_be_proven` counts only if `proof` is on record."""

    deployment_id: str
    step: int
    by: str
    claimed: bool
    reason: str | None = None
    proof: str | None = None
    must_be_proven: bool = False
    trace_id: str | None = None


class FindActivePeriod(Message):
    """A question for the active version of this model in that environment, and since when it is active."""

    model: str
    environment: Environment


class AddVersion(Message):
    registration: Registration
    inspection: Inspection


class ValidateVersion(Message):
    deployment_id: str
    version: VersionRef


class BacktestVersion(Message):
    """Put what the application `stable` was asked to the application `candidate`: at most `samples` requests.

    It asks for `budget_seconds` and then compares what it has. `score_tolerance` is how far two scores may be apart;
    None leaves that to how far the stable's are. A candidate that `allows_non_finite` may answer null for a number.
    """

    deployment_id: str
    model: str
    candidate: str
    stable: str
    samples: int
    budget_seconds: float
    score_tolerance: float | None = None
    allows_non_finite: bool = False


class SetWeight(Message):
    """`share` is what the deployment has of the traffic once this is verified (hundredths of a percent).

    It is the candidate's weight, but after promotion, when the candidate is the stable. `progress` is in percent. The
    weight waits until each application that `needs` names has so many replicas ready (invariant 8). With `settles` its
    counts begin when what was in flight at the change has ended: it was sent by a larger weight.
    """

    change: TrafficChange
    share: int
    progress: int | None
    needs: dict[str, int] = Field(default_factory=dict)
    settles: bool = False


class WithdrawCandidate(Message):
    """Takes the traffic from the candidate; `why` becomes the deployment's status as soon as that is published.

    What the stable's replicas can't hold is shed; with `hold` the candidate of the change keeps it instead. `promoted`
    says that the registry's pointer may have moved and has to go back with the traffic.
    """

    change: TrafficChange
    why: Transition | None
    promoted: bool = False
    hold: bool = False


class VerifiedWeight(Message):
    """The weight that every registered proxy confirmed, and its cumulative counts at that moment: the bake's baseline.

    `verified_at` is Unix time in seconds.
    """

    weight: int
    verified_at: float
    proxies: tuple[str, ...]
    stable: Counts = Counts()
    candidate: Counts = Counts()


class Withdrawn(VerifiedWeight):
    """`readiness` is the stable's, None where there is none or nobody wants it; `shed` what it couldn't hold."""

    shed: int = 0
    readiness: ReplicaReadiness | None = None


class PlanCapacity(Message):
    """Make the plan for this candidate beside the stable, and promise what it takes.

    `immediate` says that all traffic goes at once, as at a model's first deployment and a rollback.
    """

    spec: ApplicationSpec
    stable: str | None
    config: CanaryConfig
    immediate: bool
    deployment_id: str | None = None


class PlannedCapacity(Message):
    """`retired` were only kept warm and made room; `released` scale by load again at the end of the deployment."""

    plan: CapacityPlan
    retired: tuple[str, ...] = ()
    released: tuple[str, ...] = ()


class ResizeReplicas(Message):
    """An order for this number of replicas of the active version, which `deployment_id` made active."""

    application: str
    deployment_id: str
    replicas: int
    by: str
    reason: str | None = None


class ScaleReplicas(Message):
    """An order for these numbers of replicas; `warm_up` is one of the applications: try its new replicas.

    `deployment_id` is the deployment that asks for it, if one does.
    """

    replicas: dict[str, int]
    warm_up: ApplicationSpec | None = None
    wait: bool = True
    deployment_id: str | None = None


class AwaitReplicas(Message):
    """Wait until the application has more ready replicas than that.

    Within `pause_seconds` only all of its replicas are enough, so that replicas which come and go are asked for seldom.
    """

    application: str
    more_than: int
    pause_seconds: float = 0.0


class Watch(Message):
    """Judge one step until `bake_until`, or while data is lacking until `deadline` (both Unix time, seconds).

    Everything that it needs is here, so a watch that is started again after a crash computes the same. `reference` is
    the stable's earlier counts where nothing runs beside the candidate any more, at 100%. With `extends` it returns at
    `bake_until` as well where more requests are needed, and is asked to go on.
    """

    subject: Subject
    step: int
    baseline: VerifiedWeight
    reference: Counts | None
    prior_evidence: dict[str, float] = Field(default_factory=dict)
    policy: AnalysisPolicy
    bake_until: float
    deadline: float
    extends: bool = False
