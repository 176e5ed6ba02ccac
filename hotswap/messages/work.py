"""What activities take and give."""

from hotswap.domain.application import ApplicationSpec
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.registry import Inspection, Registration, Unfinished, VersionRef
from hotswap.domain.strategy import Thresholds
from hotswap.domain.traffic import Counts, TrafficChange
from hotswap.domain.verdict import Reason
from hotswap.messages.base import Message


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
