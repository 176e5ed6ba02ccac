"""How many replicas a share of the traffic needs, and the plan by which two versions get past each other. Pure.

An arm's capacity is its ready replicas over those that all of the traffic needs; forward, no arm's weight is ever above
it (invariant 8). The plan is made before anything starts (`hotswap/domain/planning.py`), and followed one move at a
time (`hotswap/domain/fleet.py`).
"""

from dataclasses import dataclass
from enum import StrEnum

from hotswap.domain.application import ReplicaResources
from hotswap.domain.resources import Amount
from hotswap.domain.traffic import TOTAL_WEIGHT


class Mode(StrEnum):
    """How two versions share the room there is.

    `SURGE` has both up in full. `STEPWISE` takes the stable down as the candidate comes up, never below what the
    weights need. `RECREATE` has too little room for that: what can't be held while replicas are exchanged is shed.
    """

    SURGE = "surge"
    STEPWISE = "stepwise"
    RECREATE = "recreate"


class OnAbort(StrEnum):
    """What becomes of the share that the stable can't hold when a candidate is taken out.

    It is shed until the stable is back, or the candidate holds it until then.
    """

    SHED = "shed"
    HOLD = "hold"


def held(replicas: int, full: int) -> int:
    """The share (hundredths of a percent) that so many replicas hold, where all of the traffic needs `full`.

    Rounded up to the smallest weight there is, or the thirds of three replicas would not make a whole.
    """
    return min(TOTAL_WEIGHT, -(-TOTAL_WEIGHT * replicas // full)) if full > 0 else TOTAL_WEIGHT


def needed(share: int, full: int) -> int:
    """The fewest replicas that hold this share."""
    return (share - 1) * full // TOTAL_WEIGHT + 1 if share > 0 and full > 0 else 0


def taken_back(weight: int, share: int, *, hold: bool) -> tuple[int, int]:
    """The candidate's weight and what is shed, where it goes back from this weight to a stable that holds this share.

    The candidate gets nothing more; with `hold` it keeps what the stable can't hold, as far as it had it.
    """
    kept = min(weight, TOTAL_WEIGHT - share) if hold else 0
    left = TOTAL_WEIGHT - kept
    return kept, TOTAL_WEIGHT - share * TOTAL_WEIGHT // left if left > share else 0


@dataclass(frozen=True, slots=True)
class ReplicaReadiness:
    """Replicas of an application: `wanted` now, `ready` of those that are known to answer, `full` for all traffic."""

    ready: int
    wanted: int
    full: int

    @property
    def share(self) -> int:
        """Of the traffic that is held, in hundredths of a percent."""
        return held(self.ready, self.full)

    @property
    def is_full(self) -> bool:
        return self.ready >= self.full


def size_of(resources: ReplicaResources) -> Amount:
    """Of one replica."""
    return Amount.of(gpus=resources.gpus, cpus=resources.cpus)


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """By which way, and how many stable replicas there is room for beside each number of candidate replicas.

    `beside[n]` is for n candidate replicas, None where not even those find room. `candidate` and `stable` are the
    replicas to begin with. A model's first deployment has no stable: `stable_full` is 0.
    """

    mode: Mode
    candidate_full: int
    stable_full: int
    beside: tuple[int | None, ...]
    candidate: int
    stable: int
    message: str = ""

    def has_room(self, *, candidate: int, stable: int) -> bool:
        most = self.beside[candidate] if candidate < len(self.beside) else None
        return most is not None and stable <= most

    def most_candidates(self, *, stable: int) -> int:
        """That there is room for beside so many stable ones."""
        return max((n for n in range(len(self.beside)) if self.has_room(candidate=n, stable=stable)), default=0)
