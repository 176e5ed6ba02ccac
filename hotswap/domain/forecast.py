"""What a deployment would take, said before it is started: time and GPUs. Pure.

It forecasts the steps alone. Validation, the start of replicas, the approval of the start and whatever people say on
the way come on top, since nobody knows how long they take; whether the cluster has the GPUs is asked elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hotswap.domain.application import ReplicaResources
from hotswap.domain.strategy import Step


@dataclass(frozen=True, slots=True)
class Length:
    """Seconds from the first weight to promotion.

    `least` where every bake passes at its end and every pause is ended at once; `most` where bakes are extended to
    their deadlines and pauses last to their limits, None where a pause has no limit.
    """

    least: float
    most: float | None


@dataclass(frozen=True, slots=True)
class GpuSum:
    """Replicas times GPUs of each arm; at the peak both are up, since the stable stays warm until the end."""

    candidate: float
    stable: float

    @property
    def peak(self) -> float:
        return _plain(self.candidate + self.stable)


def length(steps: Sequence[Step]) -> Length:
    most = [_most(step) for step in steps]
    return Length(
        least=sum(step.bake_seconds for step in steps),
        most=None if None in most else sum(seconds for seconds in most if seconds is not None),
    )


def _most(step: Step) -> float | None:
    bake = step.deadline_seconds if step.judged else step.bake_seconds
    if step.pause is None:
        return bake
    return None if step.pause.limit_seconds is None else bake + step.pause.limit_seconds


def gpu_sum(candidate: ReplicaResources, stable: ReplicaResources | None) -> GpuSum:
    return GpuSum(_gpus(candidate), 0.0 if stable is None else _gpus(stable))


def _gpus(resources: ReplicaResources) -> float:
    return _plain(resources.replicas * resources.gpus)


def _plain(gpus: float) -> float:
    """Three times 0.1 would show as 0.30000000000000004."""
    return round(gpus, 6)
