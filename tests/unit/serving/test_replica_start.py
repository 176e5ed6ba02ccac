"""What a replica does before it is asked anything: it answers the golden requests, and learns how slow its model is."""

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from hotswap.domain.errors import InferenceFailed
from hotswap.domain.registry import GoldenRequest
from hotswap.domain.vocabulary import Framework
from serving import inference, pace
from serving.runtimes import LoadedModel, Prediction, load
from serving.runtimes.tensors import TensorInput
from tests.fixtures.models import save_logarithm
from tests.unit.serving.replica import FakeModel, Replica, Slow, received, row


async def test_warming_up_answers_the_golden_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(tmp_path, golden=[GoldenRequest(row(1), 10.00001), GoldenRequest(row(2))])
    monkeypatch.setattr(inference, "_engine", replica.engine)
    assert await replica.send(b"", "/Production-table-1a2b3c4d/warm-up") == (
        200,
        {"version": "1.0.0", "golden": 2, "device": "cpu"},
    )
    assert replica.records == [], "golden requests are nobody's inferences"


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (GoldenRequest(row(99)), "fails a golden request: it failed"),
        (GoldenRequest(row(1), 20.0), "it answered 10.0 where 20.0 is expected"),
        (GoldenRequest([1, 2, "x", 4, 5]), r"features\[2\] doesn't fit"),
    ],
    ids=["fails", "answers otherwise", "misfits"],
)
def test_a_model_that_fails_a_golden_request_does_not_start(tmp_path: Path, request_: GoldenRequest, why: str) -> None:
    replica = Replica(tmp_path, golden=[GoldenRequest(row(1), 10.0), request_])
    with pytest.raises(InferenceFailed, match=why):
        inference.start(replica.engine)


def test_a_model_that_answers_no_number_does_not_start(tmp_path: Path) -> None:
    save_logarithm(tmp_path)
    model = load(Framework.ONNX, tmp_path)
    Replica(tmp_path / "a", model, golden=[GoldenRequest(1.0, 0.0)]).engine.warm_up()
    with pytest.raises(InferenceFailed, match="it answered nan"):
        Replica(tmp_path / "b", model, golden=[GoldenRequest(-1.0)]).engine.warm_up()


class Answers(FakeModel):
    """A model that answers one thing, whatever it is asked."""

    def __init__(self, value: Any, confidence: float | None = None) -> None:
        super().__init__()
        self._answer = Prediction(value, confidence)

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        return [self._answer for _ in instances]


class Declared(Answers):
    """One that says more of its answer than is true."""

    outputs: ClassVar[list[TensorInput]] = [TensorInput("y", np.dtype(np.void), ())]


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Answers([1.0, [2.0, float("nan")]]), "no finite number"),
        (Answers({"a": [float("inf")]}), "no finite number"),
        (Answers(1.0, float("nan")), "its confidence is nan"),
        (Answers([np.zeros(2)]), "can't be written as JSON"),
        (Answers([complex(1, 1)]), "can't be written as JSON"),
        (Declared(1.0), "can't be written as tensors of the Open Inference Protocol"),
    ],
)
def test_a_model_whose_answer_cannot_be_given_to_a_client_does_not_start(
    tmp_path: Path, model: LoadedModel, why: str
) -> None:
    with pytest.raises(InferenceFailed, match=why):
        Replica(tmp_path, model).engine.warm_up()


@pytest.mark.parametrize("value", [1, 1.5, "yes", None, True, [], [1.0, "a", None], {"a": [1, [2.0]]}, [1e308, 1e308]])
def test_a_model_may_answer_whatever_can_be_written(tmp_path: Path, value: Any) -> None:
    Replica(tmp_path, Answers(value, 0.5)).engine.warm_up()


@pytest.mark.slow
def test_without_golden_requests_one_is_made_up(tmp_path: Path) -> None:
    model = Slow()
    assert Replica(tmp_path, model).engine.warm_up() == 0
    assert len(model.threads) == 2


@pytest.mark.slow
async def test_a_model_is_run_aside_when_its_slowest_request_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "QUICK_SECONDS", 0.2)
    main = threading.current_thread().name
    for name, golden, features, aside in (
        ("fast", [0.0], [0.0], False),
        ("slowest first", [1.0, 0.0], [0.0], True),
        ("no golden request", [], [0.0], True),
        ("a large batch of a fast one", [0.004], [0.0] * 1_000, True),
    ):
        model = Slow()
        engine = Replica(tmp_path / name, model, golden=[GoldenRequest(each) for each in golden]).engine
        engine.warm_up()
        body = json.dumps({"instances": features}).encode()
        status, _, _ = await engine.infer(body, codec=engine.batch, headers={}, receive=received())
        assert status == 200
        assert (model.threads[-1] != main) == aside, name
