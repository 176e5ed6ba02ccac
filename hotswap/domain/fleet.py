"""One move at a time from a weight to another, inside the room that there is. Pure.

A move is either a change of replicas or a change of weights, never both, and what is between two moves holds: forward,
no arm's weight is above its capacity, and all replicas have room. So an arm grows before it is given weight, and lets
replicas go only after its weight was taken, in the same breath in which the other gets their place: nobody else's
deployment can take it. Where even that is not enough, the caller may allow shedding; else there is no move.
"""

from dataclasses import dataclass, replace

from hotswap.domain.capacity import CapacityPlan, Mode, held, needed
from hotswap.domain.traffic import TOTAL_WEIGHT


@dataclass(frozen=True, slots=True)
class Scale:
    """Set the replicas of each arm to these numbers. It is done when the new ones are ready."""

    candidate: int
    stable: int


@dataclass(frozen=True, slots=True)
class Shift:
    """Send the candidate this share of what isn't shed, and shed this share of all (hundredths of a percent).

    It is done when every proxy has confirmed it. Requests are shed only where replicas are exchanged for want of room.
    """

    weight: int
    shed: int = 0


class Stuck(Exception):
    """There is no room for the replicas asked for."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The replicas that both arms have, and the weight and shed share that were verified."""

    plan: CapacityPlan
    candidate: int
    stable: int
    weight: int = 0
    shed: int = 0

    @property
    def least_shed(self) -> int:
        """Return what must be shed at this weight so that no arm gets more than its replicas hold."""
        plan = self.plan
        arms = (
            (self.weight, held(self.candidate, plan.candidate_full)),
            (TOTAL_WEIGHT - self.weight, held(self.stable, plan.stable_full)),
        )
        return max(
            TOTAL_WEIGHT - capacity * TOTAL_WEIGHT // share if share > capacity else 0 for share, capacity in arms
        )

    def after(self, move: Scale | Shift) -> "Fleet":
        match move:
            case Scale():
                return replace(self, candidate=move.candidate, stable=move.stable)
            case Shift():
                return replace(self, weight=move.weight, shed=move.shed)

    def needs(self, shift: Shift) -> tuple[int, int]:
        """Return the replicas of candidate and stable to be ready before this; 0 for an arm that gets no more."""
        return self._needed_for(shift, candidate=True), self._needed_for(shift, candidate=False)

    def _needed_for(self, shift: Shift, *, candidate: bool) -> int:
        full = self.plan.candidate_full if candidate else self.plan.stable_full
        before, then = (
            (TOTAL_WEIGHT - shed) * (weight if candidate else TOTAL_WEIGHT - weight) // TOTAL_WEIGHT
            for weight, shed in ((self.weight, self.shed), (shift.weight, shift.shed))
        )
        return needed(then, full) if then > before else 0

    def move_to(self, weight: int, *, candidates: int | None = None) -> "Scale | Shift | None":
        """Return the next move towards this weight, None when it is reached, with `candidates` replicas there.

        Raises Stuck.
        """
        may_shed = self.plan.mode is Mode.RECREATE
        if weight < self.weight:
            move = _mirrored_move(
                _grow(self._mirrored(), TOTAL_WEIGHT - weight, self._stables_for(weight), may_shed=may_shed)
            )
        else:
            wanted = candidates if candidates is not None else self._candidates_for(weight)
            move = _grow(self, weight, wanted, may_shed=may_shed)
        return self._settled(candidates) if move is None and candidates not in (None, self.candidate) else move

    def move_back(self) -> "Scale | Shift | None":
        """Return the next move towards a full stable with all traffic; until then the candidate takes what it can't."""
        return _mirrored_move(_grow(self._mirrored(), TOTAL_WEIGHT, self.plan.stable_full, may_shed=True))

    def once_at(self, weight: int, *, candidates: int | None = None) -> "Fleet | None":
        """Return the fleet once it is at this weight; None where that can't be, or only with requests shed for good."""
        fleet = self
        for _ in range(4 * (self.plan.candidate_full + self.plan.stable_full + 1)):
            try:
                move = fleet.move_to(weight, candidates=candidates)
            except Stuck:
                return None
            if move is None:
                return fleet if fleet.shed == 0 else None
            fleet = fleet.after(move)
        raise AssertionError(f"no end of moves to {weight} from {self}")

    def _settled(self, candidates: int) -> Scale:
        enough = candidates >= needed(self.weight, self.plan.candidate_full)
        if not (enough and self.plan.has_room(candidate=candidates, stable=self.stable)):
            raise Stuck
        return Scale(candidates, self.stable)

    def _candidates_for(self, weight: int) -> int:
        full = self.plan.candidate_full
        return full if self.plan.mode is Mode.SURGE else needed(weight, full)

    def _stables_for(self, weight: int) -> int:
        full = self.plan.stable_full
        return full if self.plan.mode is Mode.SURGE else needed(TOTAL_WEIGHT - weight, full)

    def _mirrored(self) -> "Fleet":
        """Exchange the arms' names, so that going back is going forward."""
        plan = self.plan
        beside = tuple(
            plan.most_candidates(stable=n) if plan.has_room(candidate=0, stable=n) else None
            for n in range(plan.stable_full + 1)
        )
        mirrored = replace(plan, candidate_full=plan.stable_full, stable_full=plan.candidate_full, beside=beside)
        return Fleet(mirrored, self.stable, self.candidate, TOTAL_WEIGHT - self.weight, self.shed)


def _mirrored_move(move: Scale | Shift | None) -> Scale | Shift | None:
    match move:
        case Scale(candidate, stable):
            return Scale(candidate=stable, stable=candidate)
        case Shift(weight, shed):
            return Shift(TOTAL_WEIGHT - weight, shed)
        case None:
            return None


def _grow(fleet: Fleet, weight: int, wanted: int, *, may_shed: bool) -> Scale | Shift | None:
    """Return the next move that brings the candidate up to this weight, on so many replicas."""
    plan = fleet.plan
    if (ready := _what_is_shed_for(fleet, wanted)) is not None:
        return ready
    if (room := min(wanted, plan.most_candidates(stable=fleet.stable))) > fleet.candidate:
        return Scale(room, fleet.stable)
    reach = max(fleet.weight, min(weight, held(fleet.candidate, plan.candidate_full)))
    shift = Shift(reach, replace(fleet, weight=reach).least_shed)
    if reach > fleet.weight or shift.shed < fleet.shed:
        return shift
    if reach == weight and fleet.candidate >= wanted:
        return None
    if (exchange := _exchange(fleet, wanted)) is None:
        raise Stuck
    meanwhile = replace(fleet, stable=exchange.stable)
    if meanwhile.least_shed <= fleet.shed:
        return exchange
    if not may_shed:
        raise Stuck
    return _shedding_least(meanwhile, most=weight)


def _what_is_shed_for(fleet: Fleet, wanted: int) -> Scale | None:
    """Return the exchange that is due where more is shed than the present replicas need."""
    if fleet.shed <= fleet.least_shed:
        return None
    exchange = _exchange(fleet, wanted)
    if exchange is None or replace(fleet, stable=exchange.stable).least_shed > fleet.shed:
        return None
    return exchange


def _exchange(fleet: Fleet, wanted: int) -> Scale | None:
    """Return the move that takes just enough stable replicas for another candidate one; None where none would do."""
    for stable in range(fleet.stable - 1, -1, -1):
        room = min(wanted, fleet.plan.most_candidates(stable=stable))
        if room > fleet.candidate:
            return Scale(room, stable)
    return None


def _shedding_least(fleet: Fleet, *, most: int) -> Shift:
    """Return the shift that gives each arm what it holds and sheds only what none can, with `most` as its weight."""
    candidate = held(fleet.candidate, fleet.plan.candidate_full)
    both = candidate + held(fleet.stable, fleet.plan.stable_full)
    weight = min(most, max(fleet.weight, TOTAL_WEIGHT * candidate // both)) if both else fleet.weight
    return Shift(weight, replace(fleet, weight=weight).least_shed)
