"""Number of replicas for a share of the traffic, and the plan by which one version replaces another. Pure.

An arm's capacity is its ready replicas, divided by those that all of the traffic needs; forward, no arm's weight is
ever above it (invariant 8). The plan is made before anything starts (`hotswap/domain/planning.py`), and followed one
move at a time (`hotswap/domain/fleet.py`).
"""

from dataclasses import dataclass
from enum import StrEnum

from hotswap.domain.application import ReplicaResources
from hotswap.domain.resources import Amount
from hotswap.domain.traffic import TOTAL_WEIGHT


class Mode(StrEnum):
    """The way in which two versions share the capacity.

    `SURGE` runs both in full. `STEPWISE` takes the stable down as the candidate comes up, never below what the weights
    need. `RECREATE` has too little capacity for that: requests that can't be held while replicas are exchanged are
    shed.
    """

    SURGE = "surge"
    STEPWISE = "stepwise"
    RECREATE = "recreate"


class OnAbort(StrEnum):
    """The treatment of the share that the stable can't hold when a candidate is withdrawn.

    It is shed until the stable is back, or the candidate holds it until then.
    """

    SHED = "shed"
    HOLD = "hold"


def held(replicas: int, full: int) -> int:
    """Return the share (hundredths of a percent) that `replicas` hold, where all of the traffic needs `full`.

    It is rounded up to the smallest weight there is; otherwise the thirds of three replicas would not make a whole.
    """
    return min(TOTAL_WEIGHT, -(-TOTAL_WEIGHT * replicas // full)) if full > 0 else TOTAL_WEIGHT


def needed(share: int, full: int) -> int:
    """Return the fewest replicas that hold this share."""
    return (share - 1) * full // TOTAL_WEIGHT + 1 if share > 0 and full > 0 else 0


def taken_back(weight: int, share: int, *, hold: bool) -> tuple[int, int]:
    """Return the candidate's new weight and what is shed, when it goes back to a stable that holds only `share`.

    The candidate gets nothing more. With `hold` it keeps what the stable can't hold, as far as it had it before.
    """
    kept = min(weight, TOTAL_WEIGHT - share) if hold else 0
    left = TOTAL_WEIGHT - kept
    return kept, TOTAL_WEIGHT - share * TOTAL_WEIGHT // left if left > share else 0


@dataclass(frozen=True, slots=True)
class ReplicaReadiness:
    """An application's replicas: `wanted` now, `ready` of those, which are known to answer, `full` for all traffic."""

    ready: int
    wanted: int
    full: int

    @property
    def share(self) -> int:
        """The share of the traffic that the ready replicas hold, in hundredths of a percent."""
        return held(self.ready, self.full)

    @property
    def is_full(self) -> bool:
        return self.ready >= self.full


def size_of(resources: ReplicaResources) -> Amount:
    """Return what one replica takes."""
    return Amount.of(gpus=resources.gpus, cpus=resources.cpus)


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """The mode, and how many stable replicas there is room for beside each number of candidate replicas.

    `beside[n]` is for n candidate replicas, None where not even those have room. `candidate` and `stable` are the
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
        """Return how many candidate replicas there is room for beside so many stable ones."""
        return max((n for n in range(len(self.beside)) if self.has_room(candidate=n, stable=stable)), default=0)
