"""What may run on a replica's event loop, by what predictions take; and that a long one keeps nobody waiting there."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from onnx import TensorProto

from hotswap.domain.application import ReplicaResources
from hotswap.domain.registry import GoldenRequest
from hotswap.domain.vocabulary import Framework
from serving import golden, inference, pace
from serving.pace import MEMORY, QUICK_SECONDS, Pace, is_fixed, values_in
from serving.runtimes import Prediction, load
from serving.runtimes.rows import NUMBER_OR_MISSING, RowColumns
from tests.fixtures.models import save_identity
from tests.fixtures.patience import patient, until
from tests.unit.serving.replica import PATH, FakeModel, Replica

QUICK, SLOW = QUICK_SECONDS / 10, QUICK_SECONDS * 10
NUMBER = {"type": "number"}
ROWS = {"type": "array", "items": NUMBER}


@pytest.mark.parametrize(
    ("schema", "fixed"),
    [
        (NUMBER, True),
        (RowColumns(3, ("a", "b", "c"), NUMBER_OR_MISSING).schema, True),
        (RowColumns(3, (), NUMBER).schema, True),
        (ROWS, False),
        ({"type": "array", "items": ROWS, "minItems": 2, "maxItems": 2}, False),
        ({"type": "array", "items": NUMBER, "minItems": 1, "maxItems": 2}, False),
        ({"type": "string"}, False),
        ({"anyOf": [NUMBER, {"type": "string"}]}, False),
        ({"type": "object", "properties": {"a": NUMBER}}, False),
        ({}, False),
        (True, False),
    ],
)
def test_a_schema_says_whether_all_instances_have_one_size(schema: Any, fixed: bool) -> None:
    assert is_fixed(schema) == fixed


@pytest.mark.parametrize(("kind", "fixed"), [(["n", 4], True), (["n"], True), (["n", "s"], False)])
def test_a_graph_with_a_free_dimension_has_no_one_size(tmp_path: Path, kind: list[Any], fixed: bool) -> None:
    save_identity(tmp_path, TensorProto.FLOAT, kind)
    assert is_fixed(load(Framework.ONNX, tmp_path).input_schema) == fixed


@pytest.mark.parametrize(
    ("instances", "values"),
    [([1], 1), ([[1, 2, 3], [4.5]], 4), ([["a", "bcd"]], 4), ([{"a": [1, 2], "b": None}], 3), ([[]], 0)],
)
def test_a_size_is_that_of_the_values(instances: list[Any], values: int) -> None:
    assert values_in(instances) == values


@pytest.mark.slow
def test_the_size_of_what_is_nested_deeply_is_found() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert values_in([deep]) == 0


def test_what_is_larger_than_anything_quick_goes_aside_until_it_was_quick_itself() -> None:
    learner = Pace(ROWS)
    assert not learner.is_quick([[1.0]]), "nothing is known yet"
    learner.learn(1, QUICK)
    assert learner.is_quick([[1.0]])
    assert not learner.is_quick([[1.0] * 8])
    learner.learn(8, SLOW)
    assert learner.is_quick([[1.0]]), "a long one says nothing of a short one"
    assert not learner.is_quick([[1.0] * 8])
    learner.learn(6, QUICK)
    assert learner.is_quick([[1.0] * 6])


def test_what_was_slow_goes_aside_also_where_it_had_been_quick_and_not_for_ever() -> None:
    learner = Pace(NUMBER)
    learner.learn(1, QUICK)
    learner.learn(1, SLOW)
    for _ in range(MEMORY - 1):
        learner.learn(1, QUICK)
        assert not learner.is_quick([1.0])
    learner.learn(1, QUICK)
    assert learner.is_quick([1.0])


def test_an_error_that_came_quickly_makes_nothing_quick() -> None:
    learner = Pace(ROWS)

    def fails(instances: Sequence[Any]) -> None:
        raise ValueError(len(instances))

    with pytest.raises(ValueError, match="1"):
        learner.timed(fails, [[1.0] * 100])
    assert not learner.is_quick([[1.0] * 100])


class Square(FakeModel):
    """A model with a clock of its own, by which a row of a hundred values takes long, and any where it is told to.

    A long one waits until it is let go, if the test wants that.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(ROWS)
        self.is_slow = False
        self.let_go = threading.Event()
        self.let_go.set()
        self.threads: list[str] = []
        self._now = 0.0
        for reader in (golden, pace):
            monkeypatch.setattr(reader, "time", SimpleNamespace(perf_counter=lambda: self._now))

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        self.threads.append(threading.current_thread().name)
        is_long = self.is_slow or max(map(len, instances)) >= 100
        self._now += SLOW if is_long else QUICK
        if is_long:
            assert self.let_go.wait(patient(20)), "the event loop was kept"
        return [Prediction(len(each), None) for each in instances]


@pytest.mark.parametrize("gathers", [ReplicaResources(), ReplicaResources(max_batch_size=4)], ids=["alone", "gathered"])
async def test_a_long_request_is_made_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gathers: ReplicaResources
) -> None:
    model = Square(monkeypatch)
    replica = Replica(tmp_path, model, golden=[GoldenRequest([1.0])], resources=gathers)
    replica.engine.warm_up()
    monkeypatch.setattr(inference, "_engine", replica.engine)
    here = threading.current_thread().name

    async def ran_here(values: int) -> bool:
        status, _ = await replica.send({"features": [1.0] * values}, PATH)
        assert status == 200
        return model.threads[-1] == here

    assert await ran_here(1)
    assert not await ran_here(100)
    assert await ran_here(1)
    assert not await ran_here(50), "larger than anything that was quick"
    assert await ran_here(50)
    model.is_slow = True
    await ran_here(1)
    model.is_slow = False
    assert not await ran_here(1), "learnt from what predictions take, and not from warm-up alone"


async def test_others_are_answered_while_a_long_one_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Square(monkeypatch)
    replica = Replica(tmp_path, model, golden=[GoldenRequest([1.0])])
    replica.engine.warm_up()
    monkeypatch.setattr(inference, "_engine", replica.engine)
    model.let_go.clear()
    long = asyncio.create_task(replica.send({"features": [1.0] * 100}))
    await until(lambda: len(model.threads) == 3, every=0.005)
    status, _ = await replica.send({"features": [1.0]})
    assert (status, long.done()) == (200, False)
    model.let_go.set()
    assert (await long)[0] == 200
