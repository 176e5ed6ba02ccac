"""A replica's answers to the requests of one client at a time."""

import asyncio
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto

from hotswap.domain.vocabulary import Framework, InferenceStatus
from serving import inference
from serving.inference import InferenceApp
from serving.runtimes import Prediction, load
from tests.fixtures.models import save_identity, save_logarithm
from tests.fixtures.patience import patient, until
from tests.unit.serving.replica import PATH, Replica, Slow, received, row

TENSORS = "/Production-table-1a2b3c4d/v2/models/table/infer"


def tensors(data: list[float], *, binary: bool = False) -> dict[str, Any]:
    wanted = {"outputs": [{"name": "y", "parameters": {"binary_data": binary}}]}
    return {"inputs": [{"name": "x", "shape": [len(data), 1], "datatype": "FP32", "data": data}], **wanted}


@pytest.fixture
def replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replica:
    found = Replica(tmp_path)
    monkeypatch.setattr(inference, "_engine", found.engine)
    return found


async def test_a_prediction_carries_what_made_it(replica: Replica) -> None:
    status, answer = await replica.send({"features": row(2)}, x_request_id="abc", x_hotswap_arm="candidate")
    assert status == 200
    assert replica.headers[b"x-hotswap-version"] == b"1.0.0"
    expected = {"requestId": "abc", "modelName": "table", "version": "1.0.0", "prediction": 20.0, "confidence": None}
    assert answer.items() >= expected.items()
    assert answer["latencyMs"] > 0
    assert answer["timestamp"].endswith("Z")


async def test_the_record_is_in_the_spool_before_the_answer_leaves(replica: Replica) -> None:
    await replica.send({"features": row()}, x_request_id="abc", x_hotswap_arm="candidate", x_envoy_attempt_count="2")
    assert replica.records_at_answer == 1
    (record,) = replica.records
    assert (record.request_id, record.arm, record.attempt, record.status) == ("abc", "candidate", 2, "Completed")
    assert (json.loads(record.features), record.prediction) == (row(), "20.0")


async def test_a_record_says_whose_failure_it_answers_for(replica: Replica) -> None:
    await replica.send({"features": row()}, x_hotswap_fallback="2.0.0", x_envoy_attempt_count="5")
    await replica.send({"features": row()})
    marks = [(record.fallback_from, record.arm, record.attempt) for record in replica.records]
    assert marks == [("2.0.0", "stable", 5), (None, "stable", 1)]


@pytest.mark.parametrize(
    ("awaited_ms", "status"), [("100", "Timeout"), ("60000", "Completed"), ("", "Completed"), ("soon", "Completed")]
)
async def test_an_answer_that_nobody_awaits_any_more_is_recorded_as_too_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awaited_ms: str, status: str
) -> None:
    slow = Replica(tmp_path, Slow())
    monkeypatch.setattr(inference, "_engine", slow.engine)
    await slow.send({"features": 1.0}, x_envoy_expected_rq_timeout_ms=awaited_ms)
    (record,) = slow.records
    assert record.status == status
    assert (record.error is not None) == (status == "Timeout")


async def test_a_batch_is_answered_in_its_order_and_is_one_record(replica: Replica) -> None:
    status, answer = await replica.send({"instances": [row(4), row(1)]}, f"{PATH}/batch")
    assert status == 200
    assert [each["prediction"] for each in answer["predictions"]] == [40.0, 10.0]
    (record,) = replica.records
    assert (record.batch, record.instances, record.prediction) == (True, 2, "[40.0,10.0]")


DEEP = b'{"features":' + b"[" * 600 + b"]" * 600 + b"}"
DEEPEST = b'{"features":' + b"[" * 9_000 + b"]" * 9_000 + b"}"


@pytest.mark.parametrize(
    ("body", "path", "code", "field"),
    [
        ({"features": [1, 2, 3, "x", 5]}, PATH, "SCHEMA_VALIDATION_ERROR", "features[3]"),
        ({"features": [1, 2]}, PATH, "SCHEMA_VALIDATION_ERROR", "features"),
        ({"instances": [row(), [1, 2, None, 4, 5]]}, f"{PATH}/batch", "SCHEMA_VALIDATION_ERROR", "instances[1][2]"),
        ({"instances": []}, f"{PATH}/batch", "VALIDATION_ERROR", "instances"),
        ({"instances": 1}, f"{PATH}/batch", "VALIDATION_ERROR", "instances"),
        ({"features": [1, 2, 1e39, 4, 5]}, PATH, "SCHEMA_VALIDATION_ERROR", "features[2]"),
        ({"features": [1, 2, 3, -(10**39), 5]}, PATH, "SCHEMA_VALIDATION_ERROR", "features[3]"),
        ({"features": [1, 2, 3, 10**400, 5]}, PATH, "SCHEMA_VALIDATION_ERROR", "features[3]"),
        ({"instances": [row(), [1, 2, 3, 1e39, 5]]}, f"{PATH}/batch", "SCHEMA_VALIDATION_ERROR", "instances[1][3]"),
        ({"features": row(), "version": 1}, PATH, "VALIDATION_ERROR", "version"),
        ({"features": row(), "extra": 1}, PATH, "VALIDATION_ERROR", "extra"),
        ({}, PATH, "VALIDATION_ERROR", "features"),
        ([1], PATH, "VALIDATION_ERROR", "body"),
        (b"{", PATH, "VALIDATION_ERROR", "body"),
        (b"", PATH, "VALIDATION_ERROR", "body"),
        (b'{"features": "\xff"}', PATH, "VALIDATION_ERROR", "body"),
        (DEEP, PATH, "SCHEMA_VALIDATION_ERROR", "features"),
        (DEEPEST, PATH, "VALIDATION_ERROR", "body"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_what_does_not_fit_is_400_and_names_the_field(
    replica: Replica, body: Any, path: str, code: str, field: str
) -> None:
    status, answer = await replica.send(body, path, x_request_id="abc")
    assert (status, answer["error"]["code"], answer["error"]["traceId"]) == (400, code, "abc")
    assert replica.headers[b"x-hotswap-refused"] == b"1", "so that Envoy asks the stable"
    assert answer["error"]["details"][0]["field"] == field
    (record,) = replica.records
    assert record.status == InferenceStatus.FAILED
    assert record.error is not None
    assert record.error.startswith(code)


async def test_another_version_than_the_one_asked_for_does_not_answer(replica: Replica) -> None:
    status, answer = await replica.send({"features": row(), "version": "9.0.0"})
    assert (status, answer["error"]["code"]) == (409, "CONFLICT")
    assert b"x-hotswap-refused" not in replica.headers, "who names a version wants no other"
    assert answer["error"]["details"] == [{"field": "version", "message": "1.0.0 would answer"}]
    assert (await replica.send({"features": row(), "version": "1.0.0"}))[0] == 200


async def test_the_models_own_failure_is_500_and_tells_nothing_of_its_inside(replica: Replica) -> None:
    status, answer = await replica.send({"features": row(99)})
    assert (status, answer["error"]["code"]) == (500, "INFERENCE_ERROR")
    assert "Gather" not in json.dumps(answer)
    (record,) = replica.records
    assert (record.status, record.prediction) == (InferenceStatus.FAILED, None)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"features": -1.0}, PATH),
        ({"features": 0.0}, PATH),
        ({"instances": [1.0, -1.0]}, f"{PATH}/batch"),
        (tensors([1.0, -1.0]), TENSORS),
        (tensors([0.0], binary=True), TENSORS),
    ],
)
async def test_an_answer_that_is_no_finite_number_is_the_models_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any, path: str
) -> None:
    save_logarithm(tmp_path)
    replica = Replica(tmp_path, load(Framework.ONNX, tmp_path))
    replica.engine.warm_up()
    monkeypatch.setattr(inference, "_engine", replica.engine)
    status, answer = await replica.send(body, path)
    assert status == 500
    assert "no finite number" in json.dumps(answer)
    (record,) = replica.records
    assert (record.status, record.prediction) == (InferenceStatus.FAILED, None)
    assert record.error is not None
    assert "no finite number" in record.error
    assert (await replica.send({"features": 1.0}))[1]["prediction"] == 0.0


@pytest.mark.parametrize(
    ("body", "path", "written"),
    [
        ({"features": -1.0}, PATH, b'"prediction":null'),
        ({"instances": [1.0, -1.0]}, f"{PATH}/batch", b"null"),
        (tensors([1.0, -1.0]), TENSORS, b"[0.0,null]"),
    ],
)
async def test_a_version_that_was_registered_so_may_answer_what_is_no_finite_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any, path: str, written: bytes
) -> None:
    save_logarithm(tmp_path)
    replica = Replica(tmp_path, load(Framework.ONNX, tmp_path), allows_non_finite=True)
    replica.engine.warm_up()
    monkeypatch.setattr(inference, "_engine", replica.engine)
    status, answer = await replica.send(body, path)
    assert status == 200
    assert written in json.dumps(answer, separators=(",", ":")).encode()
    (record,) = replica.records
    assert record.status == InferenceStatus.COMPLETED


@pytest.mark.parametrize("given", ["", "x" * 129, "line\nbreak"])
async def test_a_request_id_that_would_hurt_is_replaced(replica: Replica, given: str) -> None:
    _, answer = await replica.send({"features": row()}, x_request_id=given)
    assert answer["requestId"] != given
    assert len(answer["requestId"]) == 36


@pytest.mark.parametrize("how", ["weight", "version", "tester"])
async def test_the_record_tells_how_its_arm_was_chosen(replica: Replica, how: str) -> None:
    await replica.send({"features": row()})
    await replica.send({"features": row()}, x_hotswap_chosen_by=how, x_hotswap_tester="true")
    assert [record.chosen_by for record in replica.records] == ["weight", how], "what the proxy says, not the client"


@pytest.mark.parametrize(
    "headers", [{"x_envoy_attempt_count": "many"}, {"x_hotswap_arm": "nobody"}, {"x_hotswap_chosen_by": "me"}]
)
async def test_headers_that_make_no_sense_fail_no_request(replica: Replica, headers: dict[str, str]) -> None:
    assert (await replica.send({"features": row()}, **headers))[0] == 200
    (record,) = replica.records
    assert (record.attempt, record.arm, record.chosen_by) == (1, "stable", "weight")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("POST", PATH + "/other"),
        ("POST", "/"),
        ("POST", PATH + "/warm-up"),
        ("POST", "/warm-up"),
        ("GET", "/Production-table-1a2b3c4d/warm-up"),
    ],
)
async def test_nothing_else_is_answered(replica: Replica, method: str, path: str) -> None:
    status, answer = await replica.send(b"", path, method=method)
    assert (status, answer["error"]["code"]) == (404, "NOT_FOUND")
    assert answer["error"]["traceId"]


@pytest.mark.slow
async def test_a_body_in_many_small_pieces_costs_no_more_than_in_one(replica: Replica) -> None:
    """Were all of it copied with each piece, these would be some 700 GB."""
    piece = b" " * 64
    rest, end = 150_000, json.dumps({"features": row(2)}).encode()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        nonlocal rest
        rest -= 1
        if rest % 1_000 == 0:
            await asyncio.sleep(0)  # so that the time-out is heard
        if rest >= 0:
            return {"type": "http.request", "body": piece, "more_body": True}
        return {"type": "http.request", "body": end}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    await asyncio.wait_for(InferenceApp()(scope, receive, send), patient(20))
    assert sent[0]["status"] == 200


async def test_a_body_without_end_is_refused(replica: Replica) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 1024**2, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    await asyncio.wait_for(InferenceApp()(scope, receive, send), patient(20))
    assert sent[0]["status"] == 413


async def test_a_client_that_leaves_before_its_body_is_whole_gets_no_answer_and_no_record(replica: Replica) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b'{"features": [2, 0', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await InferenceApp()({"type": "http", "method": "POST", "path": PATH, "headers": []}, receive, send)
    assert sent == []
    assert replica.records == []


class Held(Slow):
    """A model whose answers wait until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        found = super().predict(instances)
        assert self.let_go.wait(patient(60))
        return found


async def test_what_a_client_that_left_waited_for_is_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Held()
    replica = Replica(tmp_path, model)
    monkeypatch.setattr(inference, "_engine", replica.engine)
    waits = asyncio.create_task(replica.send({"features": 0}))
    await until(lambda: model.threads, every=0.005)
    assert len(model.threads) == 1
    body = {"type": "http.request", "body": b'{"features": 1}'}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    left = received(body, {"type": "http.disconnect"})
    await asyncio.wait_for(InferenceApp()(scope, left, send), patient(20))
    assert (sent, waits.done()) == ([], False)
    model.let_go.set()
    status, _ = await waits
    assert status == 200
    status, _ = await replica.send({"features": 0})
    assert status == 200
    assert len(model.threads) == 2, "the one that nobody awaits was left out"
    assert [record.features for record in replica.records] == ["0", "0"]


async def test_an_integer_beyond_the_graphs_type_is_the_clients_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_identity(tmp_path, TensorProto.INT64, ["n", 2])
    replica = Replica(tmp_path, load(Framework.ONNX, tmp_path))
    monkeypatch.setattr(inference, "_engine", replica.engine)
    for number in (2**63, -(2**63) - 1, 2**64, 10**300, 1e19):
        status, answer = await replica.send({"features": [1, number]})
        assert (status, answer["error"]["code"]) == (400, "SCHEMA_VALIDATION_ERROR")
        assert answer["error"]["details"][0]["field"] == "features[1]"
    assert (await replica.send({"features": [1, 2**63 - 1]}))[1]["prediction"] == [1, 2**63 - 1]


async def test_who_asks_is_recorded_by_a_hash_that_tells_callers_apart(replica: Replica) -> None:
    for who in ({}, {"x_entity_id": "ann"}, {"x_entity_id": "ann"}, {"x_entity_id": "bob"}):
        await replica.send({"features": row()}, **who)
    nobody, ann, again, bob = (record.entity for record in replica.records)
    assert nobody is None
    assert ann == again != bob
    assert all("ann" not in str(record) for record in replica.records)


async def test_what_a_backtest_asks_is_answered_as_ever_and_leaves_no_record(replica: Replica) -> None:
    for features, expected in (({"features": row()}, 200), ({"features": "x"}, 400), ({"features": row(99)}, 500)):
        marked = await replica.send(features, x_hotswap_backtest="1")
        assert replica.records == [], "neither of an answer nor of an error"
        assert marked[0] == expected


async def test_a_record_tells_how_its_request_was_spelled(replica: Replica) -> None:
    await replica.send({"features": row()})
    await replica.send({"instances": [row(), row()]}, f"{PATH}/batch")
    assert [(record.form, record.tensors) for record in replica.records] == [("instance", None), ("batch", None)]
