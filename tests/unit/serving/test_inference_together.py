"""Requests that a replica has at one time: gathered into one call of the model, or each by itself."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hotswap.domain.application import ReplicaResources
from serving import inference
from serving.inference import InferenceApp
from serving.runtimes import Prediction
from tests.fixtures.patience import patient
from tests.unit.serving.replica import PATH, FakeModel, Replica, Slow, received


class Counting(FakeModel):
    """A model that fails a batch with a negative number in it, and remembers how many it was asked at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        self.sizes.append(len(instances))
        if min(instances) < 0:
            raise ValueError("negative")
        return [Prediction(each * 2, None) for each in instances]


GATHERS = ReplicaResources(max_batch_size=8, batch_wait_seconds=3_600)


@pytest.mark.parametrize(("resources", "sizes"), [(GATHERS, [8]), (ReplicaResources(), [1] * 8)])
async def test_requests_of_one_time_are_one_call_of_the_model_only_where_they_are_gathered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: ReplicaResources, sizes: list[int]
) -> None:
    model = Counting()
    replica = Replica(tmp_path, model, resources=resources)
    monkeypatch.setattr(inference, "_engine", replica.engine)
    answers = await asyncio.gather(*(replica.send({"features": each}, x_request_id=str(each)) for each in range(8)))
    assert [(status, answer["requestId"], answer["prediction"]) for status, answer in answers] == [
        (200, str(each), each * 2) for each in range(8)
    ]
    assert model.sizes == sizes
    assert sorted(record.request_id for record in replica.records) == [str(each) for each in range(8)]


async def test_a_request_that_fails_in_a_batch_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(tmp_path, Counting(), resources=GATHERS)
    monkeypatch.setattr(inference, "_engine", replica.engine)
    sent = [1, 2, -1, "four", 5, 6, 7, 8, 9]
    answers = await asyncio.gather(*(replica.send({"features": each}) for each in sent))
    assert [status for status, _ in answers] == [200, 200, 500, 400, 200, 200, 200, 200, 200]
    assert [answer["prediction"] for status, answer in answers if status == 200] == [2, 4, 10, 12, 14, 16, 18]


class Exhausted(Slow):
    """A model that asks an iterator for more than it has, which Python hands on by no future."""

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        if min(instances) < 0:
            next(iter(()))
        return super().predict(instances)


@pytest.mark.parametrize("resources", [ReplicaResources(max_batch_size=2, batch_wait_seconds=0.2), ReplicaResources()])
async def test_a_model_that_raises_stop_iteration_fails_its_request_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resources: ReplicaResources
) -> None:
    replica = Replica(tmp_path, Exhausted(), resources=resources)  # so slow, as far as is known, that it gets a thread
    monkeypatch.setattr(inference, "_engine", replica.engine)
    async with asyncio.timeout(patient(20)):
        answers = await asyncio.gather(*(replica.send({"features": each}) for each in (-1, 0)))
    assert [status for status, _ in answers] == [500, 200]
    assert (await replica.send({"features": 0}))[0] == 200


async def test_who_left_is_no_part_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Counting()
    replica = Replica(tmp_path, model, resources=ReplicaResources(max_batch_size=3, batch_wait_seconds=0.02))
    monkeypatch.setattr(inference, "_engine", replica.engine)
    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    body = {"type": "http.request", "body": b'{"features": 1}'}

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError(f"nobody is there for {message}")

    left = InferenceApp()(scope, received(body, {"type": "http.disconnect"}), send)
    _, (status, answer) = await asyncio.gather(left, replica.send({"features": 4}))
    assert (status, answer["prediction"], model.sizes) == (200, 8, [1])
    assert [record.features for record in replica.records] == ["4"]
