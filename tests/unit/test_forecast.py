"""What a deployment would take, as tables."""

import pytest

from hotswap.domain.application import ReplicaResources
from hotswap.domain.forecast import GpuSum, Length, gpu_sum, length
from hotswap.domain.strategy import Pause, Step, canary_steps, immediate_steps

CANARY = canary_steps(canary_percentage=10, increment_step=45, bake_seconds=300, deadline_seconds=900)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), Length(0, 0)),
        (immediate_steps(), Length(0, 0)),
        (CANARY, Length(900, 2700)),
        ((Step(100, 1, 3), Step(10_000, 60, 180, judged=False)), Length(61, 63)),
        ((Step(0, 0, 0, judged=False, pause=Pause(3600)), Step(10_000, 60, 180)), Length(60, 3780)),
        ((Step(100, 1, 3, pause=Pause()), Step(10_000, 60, 180)), Length(61, None)),
    ],
)
def test_how_long_the_steps_take(steps: tuple[Step, ...], expected: Length) -> None:
    assert length(steps) == expected


@pytest.mark.parametrize(
    ("candidate", "stable", "expected", "peak"),
    [
        (ReplicaResources(), None, GpuSum(0, 0), 0),
        (ReplicaResources(replicas=2, gpus=1), None, GpuSum(2, 0), 2),
        (ReplicaResources(replicas=4, gpus=0.5), ReplicaResources(replicas=2, gpus=2), GpuSum(2, 4), 6),
        (ReplicaResources(replicas=3, gpus=0.1), ReplicaResources(replicas=3, gpus=0.2), GpuSum(0.3, 0.6), 0.9),
    ],
)
def test_what_it_asks_of_the_gpus(
    candidate: ReplicaResources, stable: ReplicaResources | None, expected: GpuSum, peak: float
) -> None:
    found = gpu_sum(candidate, stable)
    assert (found, found.peak) == (expected, peak)
