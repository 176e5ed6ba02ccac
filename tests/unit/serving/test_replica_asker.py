"""What a backtest asks, put to a replica's real ASGI application: in each form, unrecorded, and read back."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from onnx import TensorProto

from hotswap.domain.application import ReplicaResources
from hotswap.domain.backtest import RecordedRequest, Reply, ReplyKind, TensorSpec
from hotswap.domain.errors import Unavailable
from hotswap.domain.headers import MODEL_SECONDS_HEADER
from hotswap.domain.vocabulary import Framework, RequestForm
from serving import inference
from serving.backtest import HttpReplicaAsker
from serving.inference import InferenceApp
from serving.runtimes import LoadedModel, Prediction, load
from serving.runtimes.rows import NUMBER_OR_MISSING, RowColumns
from tests.fixtures.models import save_identity
from tests.unit.serving.replica import PATH, Replica, Slow, row

INFER = "/Production-table-1a2b3c4d/v2/models/table/infer"
ONE, BATCH, TENSORS = RequestForm.INSTANCE, RequestForm.BATCH, RequestForm.TENSORS


class Columned:
    """A model of two named columns, one of which may be missing, that answers what it is told to."""

    input_schema: ClassVar[dict[str, Any]] = RowColumns(2, ("a", "b"), NUMBER_OR_MISSING).schema
    output_schema: ClassVar[dict[str, Any]] = {}
    device = "cpu"

    def __init__(self, answer: Any = 0.5) -> None:
        self._answer = answer
        self.seen: list[Any] = []

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        self.seen += instances
        return [Prediction(self._answer, 0.75) for _ in instances]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Replica]:
    def put_in_place(model: LoadedModel | None = None) -> Replica:
        replica = Replica(tmp_path, model)
        replica.engine.warm_up()
        monkeypatch.setattr(inference, "_engine", replica.engine)
        return replica

    return put_in_place


@asynccontextmanager
async def asker(transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[HttpReplicaAsker]:
    app: Any = InferenceApp()  # it takes the dicts that servers send, and httpx declares mappings
    transport = transport or httpx.ASGITransport(app=app)
    asking = HttpReplicaAsker(timeout=timedelta(seconds=5), transport=transport)
    yield asking
    await asking.aclose()


async def ask(request: RecordedRequest, transport: httpx.AsyncBaseTransport | None = None) -> Reply:
    async with asker(transport) as asking:
        return await asking.ask("Production-table-1a2b3c4d", "table", "127.0.0.1:1", request)


def request(form: RequestForm, *instances: Any, **more: Any) -> RecordedRequest:
    return RecordedRequest("r-1", form, instances, (), 0.0, **more)


def recorded(replica: Replica) -> RecordedRequest:
    """The replica's newest record, as a backtest is given it."""
    record = replica.records[-1]
    features = json.loads(record.features)
    tensors = json.loads(record.tensors or '{"inputs": []}')
    assert record.form is not None
    return request(
        record.form,
        *(features if record.batch else [features]),
        inputs=tuple(TensorSpec(each["name"], each["datatype"], tuple(each["shape"])) for each in tensors["inputs"]),
        outputs=tuple(tensors.get("outputs", ())),
    )


@pytest.mark.parametrize(
    ("path", "body", "form", "answers"),
    [
        (PATH, {"features": row(2)}, ONE, (20.0,)),
        (f"{PATH}/batch", {"instances": [row(2), row(3)]}, BATCH, (20.0, 30.0)),
        (
            INFER,
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 5], "data": [row(2), row(3)]}]},
            TENSORS,
            ([20.0], [30.0]),  # the dimension that the graph's output has, which the comparison knows
        ),
    ],
)
async def test_each_form_is_asked_again_as_it_was_and_leaves_no_record(
    serve: Callable[..., Replica], path: str, body: Any, form: RequestForm, answers: tuple[Any, ...]
) -> None:
    replica = serve()
    assert (await replica.send(body, path))[0] == 200
    again = recorded(replica)
    reply = await ask(again)
    assert (again.form, reply.kind, len(replica.records)) == (form, ReplyKind.ANSWERED, 1)
    assert reply.answers == answers
    assert [each[0] if isinstance(each, list) else each for each in answers] == _as_list(replica.records[0].prediction)
    assert reply.seconds > 0


def _as_list(prediction: str | None) -> list[Any]:
    found = json.loads(prediction or "null")
    return found if isinstance(found, list) else [found]


async def test_named_columns_and_outputs_are_spelled_as_tensors_again(serve: Callable[..., Replica]) -> None:
    model = Columned()
    replica = serve(model)
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [2], "data": data} for name, data in (("a", [1, 2]), ("b", [3, 4]))
    ]
    assert (await replica.send({"inputs": inputs, "outputs": [{"name": "prediction"}]}, INFER))[0] == 200
    model.seen.clear()
    again = recorded(replica)
    reply = await ask(again)
    assert again.outputs == ("prediction",)
    assert (reply.kind, reply.answers) == (ReplyKind.ANSWERED, (0.5, 0.5))
    assert model.seen == [{"a": 1.0, "b": 3.0}, {"a": 2.0, "b": 4.0}]


async def test_a_client_that_names_no_prediction_is_answered_and_not_compared(serve: Callable[..., Replica]) -> None:
    serve(Columned())
    spec = (TensorSpec("a", "FP64", (1,)), TensorSpec("b", "FP64", (1,)))
    reply = await ask(request(TENSORS, {"a": 1.0, "b": 2.0}, inputs=spec, outputs=("confidence",)))
    assert (reply.kind, reply.answers) == (ReplyKind.ANSWERED, None)


@pytest.mark.parametrize("form", [ONE, BATCH, TENSORS])
async def test_what_the_model_took_is_told_in_each_form(serve: Callable[..., Replica], form: RequestForm) -> None:
    serve()
    reply = await ask(request(form, row(2), inputs=(TensorSpec("x", "FP32", (1, 5)),)))
    assert reply.model_seconds is not None
    assert 0 < reply.model_seconds < reply.seconds


@pytest.mark.slow
async def test_the_wait_for_its_turn_is_none_of_the_models_time(serve: Callable[..., Replica]) -> None:
    serve(Slow())
    await ask(request(ONE, 1))  # by which it is known that this one takes long
    async with asker() as asking:
        asked = (
            asking.ask("Production-table-1a2b3c4d", "table", "127.0.0.1:1", request(ONE, 1)),
            asking.ask("Production-table-1a2b3c4d", "table", "127.0.0.1:1", request(ONE, 1)),
        )
        replies = await asyncio.gather(*asked)
    waited = [reply.seconds - (reply.model_seconds or 0.0) for reply in replies]
    assert all((reply.model_seconds or 0.0) >= 0.25 for reply in replies)
    assert max(waited) >= 0.1, "one of them waited for most of the other's quarter of a second"


async def test_no_model_time_is_told_of_a_batch_that_others_share(tmp_path: Path, monkeypatch: Any) -> None:
    replica = Replica(tmp_path, resources=ReplicaResources(max_batch_size=4, batch_wait_seconds=0.001))
    replica.engine.warm_up()
    monkeypatch.setattr(inference, "_engine", replica.engine)
    reply = await ask(request(ONE, row(2)))
    assert (reply.kind, reply.model_seconds) == (ReplyKind.ANSWERED, None)


async def test_no_client_is_told_what_the_model_took(serve: Callable[..., Replica]) -> None:
    replica = serve()
    assert (await replica.send({"features": row()}))[0] == 200
    assert MODEL_SECONDS_HEADER.encode() not in replica.headers


@pytest.mark.parametrize("told", ["nan", "inf", "-1", "soon"])
async def test_an_answer_whose_model_time_is_no_time_cannot_be_read(told: str) -> None:
    answer = httpx.Response(200, json={"prediction": 1, "confidence": None}, headers={MODEL_SECONDS_HEADER: told})
    reply = await ask(request(ONE, row()), httpx.MockTransport(lambda _: answer))
    assert reply.kind is ReplyKind.FAILED


async def test_what_a_tensor_of_json_cannot_say_is_asked_as_a_batch(serve: Callable[..., Replica]) -> None:
    model = Columned()
    serve(model)
    spec = (TensorSpec("a", "FP64", (1,)), TensorSpec("b", "FP64", (1,)))
    reply = await ask(request(TENSORS, {"a": 1.0, "b": None}, inputs=spec))
    assert (reply.kind, model.seen[-1]) == (ReplyKind.ANSWERED, {"a": 1.0, "b": None})


async def test_an_output_that_is_gone_is_a_refusal_by_its_name(serve: Callable[..., Replica]) -> None:
    serve()
    spec = (TensorSpec("x", "FP32", (1, 5)),)
    reply = await ask(request(TENSORS, row(), inputs=spec, outputs=("output_label",)))
    assert (reply.kind, reply.field) == (ReplyKind.REFUSED, "outputs.output_label")


@pytest.mark.parametrize("form", [ONE, BATCH])
async def test_a_refusal_names_the_field_without_its_row_and_no_value(
    serve: Callable[..., Replica], tmp_path: Path, form: RequestForm
) -> None:
    save_identity(tmp_path, TensorProto.FLOAT, ["n", 2])
    serve(load(Framework.ONNX, tmp_path))
    reply = await ask(request(form, [1.0, "a secret"]))
    assert (reply.kind, reply.field) == (ReplyKind.REFUSED, "features[1]")
    assert "secret" not in str(reply)


async def test_a_refusal_of_v2_names_its_field_too(serve: Callable[..., Replica]) -> None:
    serve()
    spec = (TensorSpec("x", "FP32", (1, 2)),)
    reply = await ask(request(TENSORS, [1.0, 2.0], inputs=spec))
    assert reply.kind is ReplyKind.REFUSED
    assert reply.field is not None
    assert reply.field.startswith("features")


async def test_the_models_own_failure_is_no_refusal(serve: Callable[..., Replica]) -> None:
    serve()
    reply = await ask(request(ONE, row(99)))
    assert (reply.kind, reply.problem, reply.certain) == (ReplyKind.FAILED, "500", True)


async def test_an_answer_that_is_no_number_comes_as_none_or_as_a_failure(serve: Callable[..., Replica]) -> None:
    model = Columned()
    serve(model)
    model._answer = math.nan
    reply = await ask(request(ONE, {"a": 1.0, "b": 2.0}))
    assert reply.kind is ReplyKind.FAILED or reply.answers == (None,)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (httpx.ReadTimeout("slow"), "no answer within 5 s"),
        (httpx.RemoteProtocolError("gone"), "the connection broke"),
        (httpx.ReadError("gone"), "the connection broke"),
    ],
)
async def test_what_breaks_off_is_the_replicas_failure(error: Exception, problem: str) -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise error

    reply = await ask(request(ONE, row()), httpx.MockTransport(broken))
    assert (reply.kind, reply.problem, reply.certain) == (ReplyKind.FAILED, problem, False)


async def test_where_nobody_is_there_it_has_to_be_asked_again() -> None:
    def nobody(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unavailable, match="no replica of Production-table-1a2b3c4d answers"):
        await ask(request(ONE, row()), httpx.MockTransport(nobody))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"", ReplyKind.FAILED),
        (200, b"{}", ReplyKind.FAILED),
        (200, b"[]", ReplyKind.FAILED),
        (200, b'{"prediction": 1, "confidence": null}', ReplyKind.ANSWERED),
        (400, b"", ReplyKind.REFUSED),
        (400, b'{"error": {"details": []}}', ReplyKind.REFUSED),
        (400, b'{"error": 7}', ReplyKind.REFUSED),
        (404, b"", ReplyKind.FAILED),
        (413, b"", ReplyKind.REFUSED),
        (429, b"", ReplyKind.FAILED),
        (503, b"", ReplyKind.FAILED),
    ],
)
async def test_whatever_comes_back_is_a_reply(status: int, body: bytes, kind: ReplyKind) -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    assert (await ask(request(ONE, row()), answer)).kind is kind
