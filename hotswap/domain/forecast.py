"""What a deployment would take, said before it is started: time and GPUs. Pure.

It forecasts the steps alone. Validation, the start of replicas and people who are asked come on top, since nobody knows
how long they take; whether the cluster has the GPUs is asked elsewhere.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hotswap.domain.application import ReplicaResources
from hotswap.domain.strategy import Step


@dataclass(frozen=True, slots=True)
class Length:
    """Seconds from the first weight to promotion: where every bake passes at its end, and where each is extended."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class GpuSum:
    """Replicas times GPUs of each arm; at the peak both are up, since the stable stays warm until the end."""

    candidate: float
    stable: float

    @property
    def peak(self) -> float:
        return _plain(self.candidate + self.stable)


def length(steps: Iterable[Step]) -> Length:
    judged = [step for step in steps if step.judged]
    return Length(sum(step.bake_seconds for step in judged), sum(step.deadline_seconds for step in judged))


def gpu_sum(candidate: ReplicaResources, stable: ReplicaResources | None) -> GpuSum:
    return GpuSum(_gpus(candidate), 0.0 if stable is None else _gpus(stable))


def _gpus(resources: ReplicaResources) -> float:
    return _plain(resources.replicas * resources.gpus)


def _plain(gpus: float) -> float:
    """Three times 0.1 would show as 0.30000000000000004."""
    return round(gpus, 6)
