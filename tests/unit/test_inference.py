"""A replica's answers, mostly with a real ONNX model: a table of five rows that is looked up by `features[0]`."""

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from onnx import TensorProto

from hotswap.domain.application import ApplicationSpec, ArtifactRef, ReplicaResources
from hotswap.domain.registry import GoldenRequest
from hotswap.domain.vocabulary import Environment, Framework, InferenceStatus
from hotswap.records import InferenceRecord, decode_record
from serving import inference
from serving.inference import Engine, InferenceApp, InferenceFailed
from serving.runtimes import Model, Prediction, load
from serving.spool import SpoolWriter, read_frames, segments
from tests.fixtures.models import save_identity, save_logarithm, save_table

FEATURES = 5
PATH = "/Production-table-1a2b3c4d/api/v1/inference/table"


class Slow:
    """A model that sleeps for as many quarters of a second as `features` says, and remembers on which thread it ran."""

    input_schema: ClassVar[dict[str, Any]] = {"type": "number"}
    output_schema: ClassVar[dict[str, Any]] = {}
    device = "cpu"

    def __init__(self) -> None:
        self.threads: list[str] = []

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        self.threads.append(threading.current_thread().name)
        time.sleep(instances[0] / 4)
        return [Prediction(each, None) for each in instances]


def received(*messages: dict[str, Any]) -> inference.Receive:
    """The messages of a server's one request, and then nothing more: its client waits."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


class Replica:
    """The ASGI application as Ray Serve calls it, and the records that it spools."""

    def __init__(
        self,
        directory: Path,
        model: Model | None = None,
        *,
        golden: Sequence[GoldenRequest] = (),
        resources: ReplicaResources = ReplicaResources(),  # noqa: B008 - it never changes
    ) -> None:
        if model is None:
            save_table(directory, features=FEATURES)
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
            resources=resources,
        )
        self._spool = directory / "spool"
        writer = SpoolWriter(self._spool, application=spec.name, max_bytes=10**6)
        self.engine = Engine(spec, model, writer, list(golden))
        self.records_at_answer = 0
        self.headers: dict[bytes, bytes] = {}

    @property
    def records(self) -> list[InferenceRecord]:
        (directory,) = (self._spool / self.engine.spec.name).iterdir()
        data = [path.read_bytes() for path in segments(directory)]
        found = [record for each in data for record in read_frames(each, is_final=True).records]
        return [decode_record(record) for record in found]

    async def send(
        self, body: Any, path: str = PATH, *, method: str = "POST", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        status, answer = await self.send_raw(body, path, method=method, **headers)
        return status, json.loads(answer)

    async def send_raw(self, body: Any, path: str = PATH, *, method: str = "POST", **headers: str) -> tuple[int, bytes]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        messages: list[dict[str, Any]] = []
        receive = received({"type": "http.request", "body": content})

        async def send(message: dict[str, Any]) -> None:
            self.records_at_answer = len(self.records)
            messages.append(message)

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await InferenceApp()({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        start, answer = messages
        self.headers = dict(start["headers"])
        assert int(self.headers[b"content-length"]) == len(answer["body"])
        return start["status"], answer["body"]


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


async def test_a_client_that_leaves_before_its_body_is_whole_gets_no_answer_and_no_record(replica: Replica) -> None:
    messages = [
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


async def test_what_a_client_that_left_waited_for_is_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Slow()
    replica = Replica(tmp_path, model)
    monkeypatch.setattr(inference, "_engine", replica.engine)
    waits = asyncio.create_task(replica.send({"features": 1}))
    await asyncio.sleep(0.1)
    assert len(model.threads) == 1
    body = {"type": "http.request", "body": b'{"features": 1}'}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": []}
    left = received(body, {"type": "http.disconnect"})
    await asyncio.wait_for(InferenceApp()(scope, left, send), 0.1)
    assert sent == []
    status, _ = await waits
    assert status == 200
    status, _ = await replica.send({"features": 0})
    assert status == 200
    assert len(model.threads) == 2, "the one that nobody awaits was left out"
    assert [record.features for record in replica.records] == ["1", "0"]


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


def test_without_golden_requests_one_is_made_up(tmp_path: Path) -> None:
    model = Slow()
    assert Replica(tmp_path, model).engine.warm_up() == 0
    assert len(model.threads) == 2


async def test_a_model_is_run_aside_when_its_slowest_request_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "INLINE_SECONDS", 0.2)
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
        status, _, _ = await engine.infer(body, form=engine.batch, headers={}, receive=received())
        assert status == 200
        assert (model.threads[-1] != main) == aside, name


class Counting:
    """A model that fails a batch with a negative number in it, and remembers how many it was asked at once."""

    input_schema: ClassVar[dict[str, Any]] = {"type": "number"}
    output_schema: ClassVar[dict[str, Any]] = {}
    device = "cpu"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        self.sizes.append(len(instances))
        if min(instances) < 0:
            raise ValueError("negative")
        return [Prediction(each * 2, None) for each in instances]


GATHERS = ReplicaResources(max_batch_size=8, batch_wait_seconds=0.2)


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
    async with asyncio.timeout(5):
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


async def test_who_asks_is_recorded_by_a_hash_that_tells_callers_apart(replica: Replica) -> None:
    for who in ({}, {"x_entity_id": "ann"}, {"x_entity_id": "ann"}, {"x_entity_id": "bob"}):
        await replica.send({"features": row()}, **who)
    nobody, ann, again, bob = (record.entity for record in replica.records)
    assert nobody is None
    assert ann == again != bob
    assert all("ann" not in str(record) for record in replica.records)
