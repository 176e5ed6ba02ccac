"""The state of a deployment's workflow: progress, traffic, people's requests, and what there is to undo.

It is data only: nothing here calls an activity, so it is the same after a replay. An undo is pushed on the
`UndoLog` before the step that it undoes, since the step may half happen; `workflows/deployment/rollback.py` runs the
log.
"""

from dataclasses import dataclass, field

from hotswap.domain import verbs
from hotswap.domain.backtest import BacktestReport
from hotswap.domain.fleet import Fleet, Scale, Shift
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.policy import Requests, Rollout
from hotswap.domain.traffic import Arm, TrafficChange
from hotswap.domain.vocabulary import Environment
from hotswap.messages import Approve, Decision, SetWeight


@dataclass(slots=True)
class Progress:
    """The progress that people are shown, and the decisions that are not on record yet."""

    status: DeploymentStatus = DeploymentStatus.PENDING
    message: str = "started"
    backtest: BacktestReport | None = None
    rollout: Rollout | None = None
    """None before the first step. Its fleet is as of the last move that was finished; the rows may be a move ahead."""
    notes: list[str] = field(default_factory=list)
    unrecorded: list[Decision] = field(default_factory=list)


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


@dataclass(frozen=True, slots=True)
class WithdrawTraffic:
    """Give the stable all traffic again, verified, and then the replicas for it."""

    published: bool = False
    """True if a weight was published: then the deployment ends as RolledBack."""
    promoted: bool = False
    """True if the registry's pointer may have moved: then it moves back with the traffic."""


@dataclass(frozen=True, slots=True)
class RemoveReplicas:
    """Stop the application that this deployment started."""

    application: str


@dataclass(frozen=True, slots=True)
class LetScaleByLoad:
    """Let these applications scale by load again: under a deployment each has a fixed number of replicas."""

    applications: tuple[str, ...]


Undo = WithdrawTraffic | RemoveReplicas | LetScaleByLoad


class UndoLog:
    """The undo entries of the steps that were begun, newest last.

    It has one withdrawal at most, which undoes all changes to traffic.
    """

    def __init__(self) -> None:
        self._entries: list[Undo] = []

    def push(self, undo: Undo) -> None:
        """Write down how to undo the step that comes next; a withdrawal takes over what an earlier one has to undo."""
        if isinstance(undo, WithdrawTraffic) and (earlier := self.withdrawal) is not None:
            self._entries.remove(earlier)
            undo = WithdrawTraffic(
                published=undo.published or earlier.published, promoted=undo.promoted or earlier.promoted
            )
        self._entries.append(undo)

    def replace(self, undo: Undo, by: Undo) -> None:
        """Put what is known better by now in its place."""
        self._entries[self._entries.index(undo)] = by

    def discard(self, undo: Undo) -> None:
        """Drop what has been undone."""
        self._entries.remove(undo)

    def newest_first(self) -> tuple[Undo, ...]:
        return tuple(reversed(self._entries))

    @property
    def withdrawal(self) -> WithdrawTraffic | None:
        return next((undo for undo in self._entries if isinstance(undo, WithdrawTraffic)), None)

    @property
    def removed(self) -> tuple[str, ...]:
        """The applications that are to be stopped."""
        return tuple(undo.application for undo in self._entries if isinstance(undo, RemoveReplicas))

    @property
    def scaled_by_load(self) -> tuple[str, ...]:
        """The applications that are to scale by load again, whichever way the deployment ends."""
        return tuple(name for undo in self._entries if isinstance(undo, LetScaleByLoad) for name in undo.applications)
