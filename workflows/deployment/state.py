"""The state of a deployment's workflow: progress, traffic, and people's requests.

It is data only: nothing here calls an activity, so it is the same after a replay. What there is to undo is in
`hotswap/domain/undo.py`, and what a new run is given of all this in `workflows/deployment/carrying.py`.
"""

from dataclasses import dataclass, field

from hotswap.domain import verbs
from hotswap.domain.backtest import BacktestReport
from hotswap.domain.capacity import CapacityPlan
from hotswap.domain.fleet import Fleet, Scale, Shift
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.policy import Requests, Rollout
from hotswap.domain.traffic import Arm, TrafficChange
from hotswap.domain.vocabulary import Environment
from hotswap.messages import Approve, Decision, SetWeight, VerifiedWeight


@dataclass(slots=True)
class Progress:
    """The progress that people are shown, and the decisions that are not on record yet."""

    status: DeploymentStatus = DeploymentStatus.PENDING
    message: str = "started"
    backtest: BacktestReport | None = None
    plan: CapacityPlan | None = None
    """None before the candidate's replicas are planned."""
    rollout: Rollout | None = None
    """None before the first step. Its fleet is as of the last move that was finished; the rows may be a move ahead."""
    notes: list[str] = field(default_factory=list)
    unrecorded: list[Decision] = field(default_factory=list)
    dropped: int = 0
    """Commands without effect that came while as many decisions as may be kept waited to be put on record."""
    waits_until: float | None = None
    """When the present wait for an approval or a slot ends (Unix time, seconds); None while there is no such limit."""


@dataclass(slots=True)
class CommandState:
    """The commands that people gave, with the trace ids under which they gave them."""

    requests: Requests = field(default_factory=Requests)
    approval: Approve | None = None
    approval_trace_id: str | None = None
    abort_trace_id: str | None = None
    gate: int = verbs.START
    """The wait that an approval ends while the status is AwaitingApproval."""


@dataclass(slots=True)
class Traffic:
    """The two arms of the route, and the messages that change it, each with the next sequence number of the fence."""

    environment: Environment
    model: str
    deployment_id: str
    stable: Arm | None = None
    candidate: Arm | None = None
    verified_weight: int = 0
    first: VerifiedWeight | None = None
    """The first weight that this deployment verified, with the counts at that moment."""
    latest: VerifiedWeight | None = None
    beside_stable: dict[str, int] = field(default_factory=dict)
    """The replicas that applications which were there before are left with, when the stable gets all of its own."""
    sequence: int = 0

    def change(self, *, stable: Arm | None, candidate: Arm | None, weight: int = 0, shed: int = 0) -> TrafficChange:
        """Make the next change of the route; it must be sent, in this order."""
        self.sequence += 1
        return TrafficChange(
            environment=self.environment,
            model=self.model,
            deployment_id=self.deployment_id,
            sequence=self.sequence,
            stable=stable,
            candidate=candidate,
            candidate_weight=weight,
            shed=shed,
        )

    def shift(self, fleet: Fleet, shift: Shift, *, progress: int | None) -> SetWeight:
        """Make the message of the fleet's move, which waits for the replicas that hold the weight."""
        arms = zip((self.candidate, self.stable), fleet.needs(shift), strict=True)
        return SetWeight(
            change=self.change(stable=self.stable, candidate=self.candidate, weight=shift.weight, shed=shift.shed),
            share=shift.weight,
            progress=progress,
            needs={arm.application: number for arm, number in arms if arm is not None and number > 0},
        )

    def replicas(self, scale: Scale) -> dict[str, int]:
        """Answer the replicas of each arm's application after the fleet's move."""
        arms = ((self.candidate, scale.candidate), (self.stable, scale.stable))
        return {arm.application: number for arm, number in arms if arm is not None}
