"""A replica's answers, with a real ONNX model: a table of five rows that is looked up by `features[0]`."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hotswap.domain.application import ApplicationSpec, ArtifactRef
from hotswap.domain.registry import GoldenRequest
from hotswap.domain.vocabulary import Environment, Framework, InferenceStatus
from hotswap.records import InferenceRecord, decode_batch
from serving import inference
from serving.inference import Engine, InferenceApp, InferenceFailed
from serving.runtimes import load
from serving.spool import SpoolWriter, frames, segments

FEATURES = 5
PATH = "/Production-table-1a2b3c4d/api/v1/inference/table"


def save_model(directory: Path) -> None:
    """y = table[int(x[0])] for vectors of five numbers; outside of the table the runtime itself fails."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
            helper.make_node("Cast", ["column"], ["index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["table", "index"], ["y"]),
        ],
        "table",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
        [
            numpy_helper.from_array(np.array([0]), "first"),
            numpy_helper.from_array(np.arange(5, dtype=np.float32) * 10, "table"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(directory / "model.onnx"))


class Replica:
    """The ASGI application as Ray Serve calls it, and the records that it spools."""

    def __init__(self, directory: Path, *, golden: list[GoldenRequest] | None = None) -> None:
        save_model(directory)
        model = load(Framework.ONNX, directory)
        spec = ApplicationSpec(
            name="Production-table-1a2b3c4d",
            deployment_id="dep-1a2b3c4d",
            environment=Environment.PRODUCTION,
            model="table",
            version="1.0.0",
            framework=Framework.ONNX,
            artifact=ArtifactRef("s3://ml-models/table.tar.gz", "0" * 64, 1),
            input_schema=model.input_schema,
            output_schema=model.output_schema,
        )
        self._spool = directory / "spool"
        writer = SpoolWriter(self._spool, application=spec.name, max_bytes=10**6)
        self.engine = Engine(spec, model, writer, golden or [])
        self.records_at_answer = 0
        self.headers: dict[bytes, bytes] = {}

    @property
    def records(self) -> list[InferenceRecord]:
        (directory,) = (self._spool / self.engine.spec.name).iterdir()
        found = [record for path in segments(directory) for record in frames(path.read_bytes())]
        return [decode_batch(b"\x91" + record)[0] for record in found]

    async def send(
        self, body: Any, path: str = PATH, *, method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        messages: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": content}

        async def send(message: dict[str, Any]) -> None:
            self.records_at_answer = len(self.records)
            messages.append(message)

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await InferenceApp()({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        start, answer = messages
        self.headers = dict(start["headers"])
        assert int(self.headers[b"content-length"]) == len(answer["body"])
        return start["status"], json.loads(answer["body"])


@pytest.fixture
def replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replica:
    found = Replica(tmp_path)
    monkeypatch.setattr(inference, "_engine", found.engine)
    return found


def row(first: float = 2) -> list[float]:
    return [first, 0, 0, 0, 0]


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
    assert answer["error"]["details"][0]["field"] == field
    (record,) = replica.records
    assert record.status == InferenceStatus.FAILED
    assert record.error is not None
    assert record.error.startswith(code)


async def test_another_version_than_the_one_asked_for_does_not_answer(replica: Replica) -> None:
    status, answer = await replica.send({"features": row(), "version": "9.0.0"})
    assert (status, answer["error"]["code"]) == (409, "CONFLICT")
    assert answer["error"]["details"] == [{"field": "version", "message": "1.0.0 would answer"}]
    assert (await replica.send({"features": row(), "version": "1.0.0"}))[0] == 200


async def test_the_models_own_failure_is_500_and_tells_nothing_of_its_inside(replica: Replica) -> None:
    status, answer = await replica.send({"features": row(99)})
    assert (status, answer["error"]["code"]) == (500, "INFERENCE_ERROR")
    assert "Gather" not in json.dumps(answer)
    (record,) = replica.records
    assert (record.status, record.prediction) == (InferenceStatus.FAILED, None)


@pytest.mark.parametrize("given", ["", "x" * 129, "line\nbreak"])
async def test_a_request_id_that_would_hurt_is_replaced(replica: Replica, given: str) -> None:
    _, answer = await replica.send({"features": row()}, x_request_id=given)
    assert answer["requestId"] != given
    assert len(answer["requestId"]) == 36


@pytest.mark.parametrize("headers", [{"x_envoy_attempt_count": "many"}, {"x_hotswap_arm": "nobody"}])
async def test_headers_that_make_no_sense_fail_no_request(replica: Replica, headers: dict[str, str]) -> None:
    assert (await replica.send({"features": row()}, **headers))[0] == 200
    assert (replica.records[0].attempt, replica.records[0].arm) == (1, "stable")


@pytest.mark.parametrize(("method", "path"), [("GET", PATH), ("POST", PATH + "/other"), ("POST", "/")])
async def test_nothing_else_is_answered(replica: Replica, method: str, path: str) -> None:
    status, answer = await replica.send(b"", path, method=method)
    assert status == 404
    assert answer["error"]["traceId"]


async def test_a_body_without_end_is_refused(replica: Replica) -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x" * 1024**2, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    await asyncio.wait_for(InferenceApp()(scope, receive, send), 5)
    assert sent[0]["status"] == 413


async def test_warming_up_answers_the_golden_requests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(tmp_path, golden=[GoldenRequest(row(1)), GoldenRequest(row(2))])
    monkeypatch.setattr(inference, "_engine", replica.engine)
    assert await replica.send(b"", "/Production-table-1a2b3c4d/warm-up") == (200, {"version": "1.0.0", "golden": 2})
    assert replica.records == [], "golden requests are nobody's inferences"


def test_a_model_that_fails_a_golden_request_does_not_start(tmp_path: Path) -> None:
    replica = Replica(tmp_path, golden=[GoldenRequest(row(99))])
    with pytest.raises(InferenceFailed, match="fails a golden request"):
        inference.start(replica.engine)
