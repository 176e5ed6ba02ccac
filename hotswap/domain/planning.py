"""The capacity plan before anything starts: the cluster's size, what runs, and the need at the peak. Pure.

The least disruptive mode that fits is chosen: surge, then stepwise, then recreate where that is allowed. Versions of
the same model that are only kept warm make room where it is needed, but never those of another model. A deployment that
fits in no mode is refused with the sum that shows why: Ray itself would wait for ever.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hotswap.domain.capacity import CapacityPlan, Mode, needed
from hotswap.domain.demand import Demand, Holding
from hotswap.domain.errors import InsufficientCapacity
from hotswap.domain.fleet import Fleet
from hotswap.domain.resources import Amount, counted
from hotswap.domain.shortage import check_ever_fits, in_short, refusal
from hotswap.domain.strategy import Step


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan. `retire` are applications that were only kept warm and must go first, to make room.

    Those in `scale_by_load` keep a fixed number of replicas during the exchange.
    """

    plan: CapacityPlan
    retire: tuple[str, ...] = ()
    scale_by_load: tuple[str, ...] = ()


def make_plan(demand: Demand) -> Planned:
    """Return the plan.

    Raises ValidationFailed for a demand that could never fit, and InsufficientCapacity for one that doesn't fit now.
    """
    check_ever_fits(demand)
    found = _best(demand, demand.others)
    if demand.spare and (found is None or found.mode is not Mode.SURGE):
        without = _best(demand, [each for each in demand.others if each not in demand.spare])
        if without is not None and (found is None or _ORDER[without.mode] < _ORDER[found.mode]):
            return Planned(without, tuple(each.application for each in demand.spare), _scaled_by_load(demand))
    if found is None:
        raise InsufficientCapacity(refusal(demand))
    return Planned(found, scale_by_load=_scaled_by_load(demand))


_ORDER = {mode: order for order, mode in enumerate(Mode)}


def _scaled_by_load(demand: Demand) -> tuple[str, ...]:
    arms = (demand.candidate, demand.stable)
    return tuple(arm.application for arm in arms if arm is not None and arm.scales_by_load)


def _best(demand: Demand, others: Sequence[Holding]) -> CapacityPlan | None:
    beside = _room(demand, others)
    for mode in Mode:
        plan = _as(mode, demand, beside)
        if plan is not None:
            return plan
    return None


def _as(mode: Mode, demand: Demand, beside: tuple[int | None, ...]) -> CapacityPlan | None:
    """Return the plan of this mode, None where it can't reach every step."""
    if mode is Mode.RECREATE and (not demand.allow_recreate or demand.has_approvals_on_the_way):
        return None
    steps = demand.steps[-1:] if mode is Mode.RECREATE else demand.steps
    # Where the cluster has lost GPUs, that is less than the stable had: it holds all of the traffic on those it has.
    stable = beside[0] or 0
    plan = CapacityPlan(mode, demand.candidate.full, stable, beside, candidate=0, stable=stable)
    if mode is Mode.SURGE and not plan.has_room(candidate=plan.candidate_full, stable=stable):
        return None
    candidate = max(_to_begin_with(plan, steps[0]), demand.candidate.replicas)
    if candidate == 0 and mode is not Mode.RECREATE:
        return None
    plan = replace(plan, candidate=candidate, message=in_short(mode, demand))
    return plan if _reaches_all(plan, steps) else None


def _to_begin_with(plan: CapacityPlan, first: Step) -> int:
    """Return the candidate replicas before there is any weight; 0 where there is no room for even one."""
    wanted = first.candidate_replicas
    if wanted is None:
        surges = plan.mode is Mode.SURGE
        wanted = plan.candidate_full if surges else max(1, needed(first.weight, plan.candidate_full))
    return min(wanted, plan.most_candidates(stable=plan.stable))


def _reaches_all(plan: CapacityPlan, steps: Iterable[Step]) -> bool:
    fleet: Fleet | None = Fleet(plan, plan.candidate, plan.stable)
    for step in steps:
        fleet = fleet.once_at(step.weight, candidates=step.candidate_replicas) if fleet is not None else None
    return fleet is not None


def _room(demand: Demand, others: Sequence[Holding]) -> tuple[int | None, ...]:
    """Return `CapacityPlan.beside`, where these other applications stay."""
    # What already waits for room in vain holds none; it must not keep others from what is left.
    placed = demand.cluster.laid_out(counted((each.size, each.counted) for each in others)) if demand.cluster else None
    most: int | None = demand.stable.full if demand.stable is not None else 0
    if most is not None and _fits(demand, others, placed, candidates=demand.candidate.full, stables=most):
        return (most,) * (demand.candidate.full + 1)  # what fits in full fits in part
    beside: list[int | None] = []
    for candidates in range(demand.candidate.full + 1):
        # More of the one never makes room for more of the other.
        while most is not None and not _fits(demand, others, placed, candidates=candidates, stables=most):
            most = most - 1 if most > 0 else None
        beside.append(most)
    return tuple(beside)


def _fits(
    demand: Demand, others: Sequence[Holding], placed: Counter[Amount] | None, *, candidates: int, stables: int
) -> bool:
    arms = [(demand.candidate.size, candidates)]
    if demand.stable is not None:
        arms.append((demand.stable.size, stables))
    gpus = sum(size.gpus * number for size, number in arms)
    if gpus and demand.quota is not None and gpus + demand.quota.used_by(others) > demand.quota.gpus:
        return False
    if demand.cluster is None or placed is None:
        return True
    return demand.cluster.has_room_for(placed + counted(arms))
