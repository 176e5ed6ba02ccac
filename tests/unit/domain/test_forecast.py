"""What a deployment would take, as tables."""

import pytest

from hotswap.domain.application import ReplicaResources
from hotswap.domain.capacity import CapacityPlan, Mode
from hotswap.domain.forecast import GpuSum, Length, gpu_sum, length
from hotswap.domain.strategy import Step, StepPause, canary_steps, immediate_steps

CANARY = canary_steps(canary_percentage=10, increment_step=45, bake_seconds=300, deadline_seconds=900)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), Length(0, 0)),
        (immediate_steps(), Length(0, 0)),
        (CANARY, Length(900, 2700)),
        ((Step(100, 1, 3), Step(10_000, 60, 180, judged=False)), Length(61, 63)),
        ((Step(0, 0, 0, judged=False, pause=StepPause(3600)), Step(10_000, 60, 180)), Length(60, 3780)),
        ((Step(100, 1, 3, pause=StepPause()), Step(10_000, 60, 180)), Length(61, None)),
    ],
)
def test_how_long_the_steps_take(steps: tuple[Step, ...], expected: Length) -> None:
    assert length(steps) == expected


def test_a_backtest_comes_before_the_steps_and_may_find_nothing_to_ask() -> None:
    assert length(CANARY, backtest_seconds=120) == Length(900, 2820)
    assert length((Step(100, 1, 3, pause=StepPause()),), backtest_seconds=120) == Length(1, None)


def plan(mode: Mode, *beside: int | None) -> CapacityPlan:
    return CapacityPlan(mode, len(beside) - 1, beside[0] or 0, beside, candidate=1, stable=beside[0] or 0)


TWO_OF_1 = ReplicaResources(replicas=2, gpus=1)


@pytest.mark.parametrize(
    ("candidate", "stable", "planned", "expected"),
    [
        (ReplicaResources(), None, None, GpuSum(0, 0, 0)),
        (TWO_OF_1, None, None, GpuSum(2, 0, 2)),
        (ReplicaResources(replicas=4, gpus=0.5), ReplicaResources(replicas=2, gpus=2), None, GpuSum(2, 4, 6)),
        (ReplicaResources(replicas=3, gpus=0.1), ReplicaResources(replicas=3, gpus=0.2), None, GpuSum(0.3, 0.6, 0.9)),
        (TWO_OF_1, None, plan(Mode.SURGE, 0, 0, 0), GpuSum(2, 0, 2)),
        (TWO_OF_1, TWO_OF_1, plan(Mode.SURGE, 2, 2, 2), GpuSum(2, 2, 4)),
        # Three GPUs for four replicas: the stable goes down as the candidate comes up.
        (TWO_OF_1, TWO_OF_1, plan(Mode.STEPWISE, 2, 2, 1), GpuSum(2, 2, 3)),
        (TWO_OF_1, TWO_OF_1, plan(Mode.RECREATE, 2, None, None), GpuSum(2, 2, 2)),
    ],
)
def test_what_it_asks_of_the_gpus(
    candidate: ReplicaResources, stable: ReplicaResources | None, planned: CapacityPlan | None, expected: GpuSum
) -> None:
    assert gpu_sum(candidate, stable, planned) == expected
