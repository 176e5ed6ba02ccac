"""A forecast of a deployment before it is started: its time and its GPUs. Pure.

It covers the backtest and the steps. Validation, the start of replicas, the approval of the start and whatever people
say on the way come on top, since nobody knows how long they take. Whether the cluster has the GPUs is checked
elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hotswap.domain.application import ReplicaResources
from hotswap.domain.capacity import CapacityPlan
from hotswap.domain.strategy import Step


@dataclass(frozen=True, slots=True)
class Length:
    """Seconds from the backtest, or else the first weight, to promotion.

    `least` where no request is on record, every bake passes at its end and every pause is ended at once; `most` where
    the backtest asks for all of its time, bakes are extended to their deadlines and pauses last to their limits, None
    where a pause has no limit.
    """

    least: float
    most: float | None


@dataclass(frozen=True, slots=True)
class GpuSum:
    """Replicas times GPUs of each arm in full, and the most that both have at one time."""

    candidate: float
    stable: float
    peak: float


def length(steps: Sequence[Step], *, backtest_seconds: float = 0.0) -> Length:
    most = [backtest_seconds, *(_most(step) for step in steps)]
    return Length(
        least=sum(step.bake_seconds for step in steps),
        most=None if None in most else sum(seconds for seconds in most if seconds is not None),
    )


def _most(step: Step) -> float | None:
    bake = step.deadline_seconds if step.judged else step.bake_seconds
    if step.pause is None:
        return bake
    return None if step.pause.limit_seconds is None else bake + step.pause.limit_seconds


def gpu_sum(candidate: ReplicaResources, stable: ReplicaResources | None, plan: CapacityPlan | None) -> GpuSum:
    """Return the GPUs by the capacity plan; without a plan, as if there were room for all replicas at one time."""
    beside = stable.gpus if stable is not None else 0.0
    if plan is None:
        mine, theirs = candidate.replicas * candidate.gpus, stable.replicas * beside if stable is not None else 0.0
        return GpuSum(_plain(mine), _plain(theirs), _plain(mine + theirs))
    together = [
        candidates * candidate.gpus + stables * beside
        for candidates, stables in enumerate(plan.beside)
        if stables is not None
    ]
    return GpuSum(
        candidate=_plain(plan.candidate_full * candidate.gpus),
        stable=_plain(plan.stable_full * beside),
        peak=_plain(max(together, default=0.0)),
    )


def _plain(gpus: float) -> float:
    """Round the number, since three times 0.1 would show as 0.30000000000000004."""
    return round(gpus, 6)
