"""What activities take and give."""

from enum import StrEnum

from hotswap.domain.application import ApplicationSpec
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.registry import Inspection, Registration, Unfinished, VersionRef
from hotswap.domain.strategy import Thresholds
from hotswap.domain.traffic import Counts, TrafficChange
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment
from hotswap.messages.base import Message
from hotswap.messages.runs import QueueInput


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


class AwaitTurn(Message):
    """`aborted` are the runs that were told to end already, for one that supersedes them."""

    deployment_id: str
    aborted: tuple[str, ...] = ()


class Call(StrEnum):
    """What one that waited for its turn has to do now."""

    START = "start"
    ABORT_OTHERS = "abort others"
    NOTHING = "nothing"


class Run(Message):
    """A deployment's workflow, and which run of it."""

    deployment_id: str
    workflow_id: str
    run_id: str


class Turn(Message):
    call: Call
    others: tuple[Run, ...] = ()


class LeaveQueue(Message):
    deployment_id: str
    status: DeploymentStatus
    reason: Reason
    message: str
    actor: str


class ApprovalGiven(Message):
    """`step` 0 is the start."""

    deployment_id: str
    step: int
    by: str
    claimed: bool


class Leftovers(Message):
    """What may have lost its workflow.

    What has not ended may be in work, the applications that nothing routes to may be kept warm, and of what waits for
    its turn these are the ones whose turn has come.
    """

    deployments: tuple[Unfinished, ...]
    orphans: tuple[ApplicationSpec, ...]
    queued: tuple[QueueInput, ...] = ()


class FindTenure(Message):
    """What is active of this model in that environment, and since when."""

    model: str
    environment: Environment


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
