"""The Open Inference Protocol as a replica speaks it, mostly with real ONNX models; a public client is asked in
tests/integration/test_open_inference.py.
"""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from onnx import TensorProto

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.vocabulary import Framework, InferenceStatus
from serving import inference
from serving.open_inference.codec import OpenInference
from serving.open_inference.tensors import DTYPES, from_bytes, from_json, to_bytes
from serving.runtimes import LoadedModel, Prediction, load
from serving.runtimes.rows import NUMBER_OR_MISSING, RowColumns
from tests.fixtures.models import save_graph, save_identity
from tests.unit.serving.replica import PATH, Replica, row

MODEL = "/Production-table-1a2b3c4d/v2/models/table"
INFER = f"{MODEL}/infer"

Serve = Callable[..., Replica]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    def put_in_place(model: LoadedModel | None = None) -> Replica:
        replica = Replica(tmp_path, model)
        replica.engine.warm_up()
        monkeypatch.setattr(inference, "_engine", replica.engine)
        return replica

    return put_in_place


def tensor(data: Any, shape: Sequence[int], datatype: str = "FP32", name: str = "x", **more: Any) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype, "data": data, **more}


class Scores:
    """A model of two named columns, one of which may be missing: their sum, or what was asked for."""

    input_schema: ClassVar[dict[str, Any]] = RowColumns(2, ("a", "b"), NUMBER_OR_MISSING).schema
    output_schema: ClassVar[dict[str, Any]] = {}
    device = "cpu"

    def __init__(self, answer: Callable[[float], Prediction] = lambda sum_: Prediction(sum_, None)) -> None:
        self._answer = answer

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        rows = [list(each.values()) if isinstance(each, dict) else each for each in instances]
        return [self._answer(sum(value or 0 for value in each)) for each in rows]


async def test_rows_of_a_tensor_are_answered_in_their_order_and_are_one_record(serve: Serve) -> None:
    replica = serve()
    body = {"id": "my-1", "inputs": [tensor([row(4), row(1)], [2, 5])]}
    status, answer = await replica.send(body, INFER, x_request_id="other")
    assert status == 200
    assert answer == {
        "model_name": "table",
        "model_version": "1.0.0",
        "id": "my-1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 1], "data": [40.0, 10.0]}],
    }
    (record,) = replica.records
    assert (record.request_id, record.batch, record.instances) == ("my-1", True, 2)
    assert (json.loads(record.features), record.prediction) == ([row(4), row(1)], "[40.0,10.0]")


async def test_a_request_without_an_id_is_answered_with_its_records(serve: Serve) -> None:
    replica = serve()
    _, answer = await replica.send({"inputs": [tensor(row(), [1, 5])]}, INFER, x_request_id="trace-7")
    assert answer["id"] == replica.records[0].request_id == "trace-7"


@pytest.mark.parametrize("path", ["", "/versions/1.0.0"])
async def test_a_model_tells_what_it_is_and_that_it_is_ready(serve: Serve, path: str) -> None:
    replica = serve()
    assert await replica.send(b"", f"{MODEL}{path}/ready", method="GET") == (200, {"name": "table", "ready": True})
    status, told = await replica.send(b"", f"{MODEL}{path}", method="GET")
    assert (status, told) == (
        200,
        {
            "name": "table",
            "versions": ["1.0.0"],
            "platform": "onnx",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 5]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
            "properties": {"device": "cpu"},
        },
    )
    assert replica.records == [], "nothing was inferred"
    assert (await replica.send({"inputs": [tensor(row(), [1, 5])]}, f"{MODEL}{path}/infer"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path"), [("GET", INFER), ("POST", MODEL), ("POST", f"{MODEL}/ready"), ("DELETE", INFER)]
)
async def test_another_method_is_refused(serve: Serve, method: str, path: str) -> None:
    status, answer = await serve().send(b"", path, method=method)
    assert (status, list(answer)) == (405, ["error"])


async def test_another_version_is_not_answered_here(serve: Serve) -> None:
    assert (await serve().send(b"", f"{MODEL}/versions/2.0.0/infer"))[0] == 404


DATATYPES = {
    "BOOL": (TensorProto.BOOL, [True, False]),
    "INT8": (TensorProto.INT8, [-128, 127]),
    "INT16": (TensorProto.INT16, [-(2**15), 2**15 - 1]),
    "INT32": (TensorProto.INT32, [-(2**31), 2**31 - 1]),
    "INT64": (TensorProto.INT64, [-(2**63), 2**63 - 1]),
    "UINT8": (TensorProto.UINT8, [0, 255]),
    "UINT16": (TensorProto.UINT16, [0, 2**16 - 1]),
    "UINT32": (TensorProto.UINT32, [0, 2**32 - 1]),
    "UINT64": (TensorProto.UINT64, [0, 2**64 - 1]),
    "FP16": (TensorProto.FLOAT16, [0.5, -1.5]),
    "FP32": (TensorProto.FLOAT, [0.5, -(2.0**100)]),
    "FP64": (TensorProto.DOUBLE, [0.1, -1e300]),
    "BYTES": (TensorProto.STRING, ["grün", ""]),
}


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("is_binary", [False, True], ids=["json", "binary"])
async def test_a_tensor_of_each_datatype_comes_back_as_it_was(
    serve: Serve, tmp_path: Path, datatype: str, is_binary: bool
) -> None:
    kind, values = DATATYPES[datatype]
    save_identity(tmp_path, kind, ["n", 2])
    replica = serve(load(Framework.ONNX, tmp_path))
    _, told = await replica.send(b"", MODEL, method="GET")
    assert told["inputs"] == [{"name": "x", "datatype": datatype, "shape": [-1, 2]}]
    assert told["outputs"] == [{"name": "y", "datatype": datatype, "shape": [-1, 2]}]
    if not is_binary:
        _, answer = await replica.send({"inputs": [tensor(values, [1, 2], datatype)]}, INFER)
        assert answer["outputs"] == [{"name": "y", "datatype": datatype, "shape": [1, 2], "data": values}]
        return
    raw = to_bytes(np.array(values, dtype=DTYPES[datatype]))
    given = tensor(None, [1, 2], datatype, parameters={"binary_data_size": len(raw)})
    head = json.dumps({"inputs": [given], "parameters": {"binary_data_output": True}}).encode()
    status, body = await replica.send_raw(head + raw, INFER, inference_header_content_length=str(len(head)))
    assert status == 200, body
    assert replica.headers[b"content-type"] == b"application/octet-stream"
    length = int(replica.headers[b"inference-header-content-length"])
    (output,) = json.loads(body[:length])["outputs"]
    assert output == {
        "name": "y",
        "datatype": datatype,
        "shape": [1, 2],
        "parameters": {"binary_data_size": len(raw)},
    }
    assert body[length:] == raw
    assert json.loads(replica.records[0].features) == [pytest.approx(values)]


async def test_each_output_is_binary_or_not_as_it_is_asked_for(serve: Serve) -> None:
    replica = serve(Scores(lambda sum_: Prediction("high" if sum_ > 3 else "low", 0.5)))
    features = tensor([1, 2, 3, 4], [2, 2], "INT32", "whatever")
    wanted = [{"name": "confidence", "parameters": {"binary_data": True}}, {"name": "prediction"}]
    status, body = await replica.send_raw({"inputs": [features], "outputs": wanted}, INFER)
    assert status == 200, body
    length = int(replica.headers[b"inference-header-content-length"])
    confidence, prediction = json.loads(body[:length])["outputs"]
    assert confidence["parameters"] == {"binary_data_size": 16}
    assert struct.unpack("<2d", body[length:]) == (0.5, 0.5)
    assert prediction == {"name": "prediction", "datatype": "BYTES", "shape": [2], "data": ["low", "high"]}
    status, answer = await replica.send({"inputs": [features], "outputs": [{"name": "prediction"}]}, INFER)
    assert [each["name"] for each in answer["outputs"]] == ["prediction"], "and no other"


@pytest.mark.parametrize("shape", [[2], [2, 1]])
async def test_columns_are_tensors_by_name_or_one_of_all(serve: Serve, shape: list[int]) -> None:
    replica = serve(Scores())
    _, told = await replica.send(b"", MODEL, method="GET")
    assert told["inputs"] == [
        {"name": "a", "datatype": "FP64", "shape": [-1]},
        {"name": "b", "datatype": "FP64", "shape": [-1]},
    ]
    by_name = {"inputs": [tensor([1, 2], shape, name="b"), tensor([10, 20], shape, "INT64", "a")]}
    _, answer = await replica.send(by_name, INFER)
    assert answer["outputs"][0]["data"] == [11, 22]
    _, answer = await replica.send({"inputs": [tensor([10, 1, 20, 2], [2, 2])]}, INFER)
    assert answer["outputs"][0]["data"] == [11, 22]
    assert [json.loads(record.features)[0] for record in replica.records] == [{"a": 10, "b": 1}, [10, 1]]


@pytest.mark.parametrize(
    ("second", "names"),
    [
        (tensor([1], [1], name="a"), "inputs[1].name"),
        (tensor([1], [1], name="c"), "the model takes a, b; given are a, c"),
        (tensor([1, 2], [2], name="b"), "of one batch"),
        (tensor([1, 2], [1, 2], name="b"), "row 0"),
    ],
    ids=["twice", "unknown", "another size", "no column"],
)
async def test_columns_that_make_no_rows_are_400(serve: Serve, second: dict[str, Any], names: str) -> None:
    status, answer = await serve(Scores()).send({"inputs": [tensor([1], [1], name="a"), second]}, INFER)
    assert status == 400
    assert names in answer["error"]


async def test_what_is_no_number_is_missing_where_a_model_allows_for_it(serve: Serve) -> None:
    raw = struct.pack("<2f", float("nan"), 2)
    given = tensor(None, [1, 2], parameters={"binary_data_size": 8})
    head = json.dumps({"inputs": [given]}).encode()
    sent = {"inference_header_content_length": str(len(head))}
    replica = serve(Scores())
    assert (await replica.send(head + raw, INFER, **sent))[1]["outputs"][0]["data"] == [2.0]
    assert json.loads(replica.records[0].features) == [[None, 2.0]]


async def test_an_answer_that_is_no_tensor_is_json_row_by_row(serve: Serve) -> None:
    replica = serve(Scores(lambda sum_: Prediction({"sum": sum_}, None)))
    _, answer = await replica.send({"inputs": [tensor([1, 2, 3, 4], [2, 2], "INT8")]}, INFER)
    (output,) = answer["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == ("BYTES", [2], ['{"sum":3}', '{"sum":7}'])


async def test_several_tensors_of_a_graph_are_its_own(serve: Serve, tmp_path: Path) -> None:
    from onnx import helper

    save_graph(
        tmp_path,
        [helper.make_node("Cast", ["count"], ["as_float"], to=TensorProto.FLOAT), _add("as_float", "amount")],
        [("count", TensorProto.INT64, ["n", 1]), ("amount", TensorProto.FLOAT, ["n", 1])],
        [("total", TensorProto.FLOAT, ["n", 1])],
    )
    replica = serve(load(Framework.ONNX, tmp_path))
    _, told = await replica.send(b"", MODEL, method="GET")
    assert [each["name"] for each in told["inputs"]] == ["count", "amount"]
    inputs = [tensor([1, 2], [2, 1], "INT64", "count"), tensor([0.5, 1.5], [2, 1], "FP32", "amount")]
    _, answer = await replica.send({"inputs": inputs}, INFER)
    assert answer["outputs"] == [{"name": "total", "datatype": "FP32", "shape": [2, 1], "data": [1.5, 3.5]}]
    status, refused = await replica.send({"inputs": inputs[:1]}, INFER)
    assert (status, refused) == (400, {"error": "inputs: the model takes count, amount; given are count"})


def _add(left: str, right: str) -> Any:
    from onnx import helper

    return helper.make_node("Add", [left, right], ["total"])


ONE = tensor(row(), [1, 5])


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"{", "body"),
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [{**ONE, "shape": "1"}]}, "inputs[0].shape"),
        ({"inputs": [{**ONE, "shape": []}]}, "inputs[0].shape"),
        ({"inputs": [{**ONE, "shape": [0, 5], "data": []}]}, "inputs[0].shape"),
        ({"inputs": [{**ONE, "shape": [-1, 5]}]}, "inputs[0].shape"),
        ({"inputs": [{**ONE, "shape": [10_001, 5]}]}, "1 to 10000 rows"),
        ({"inputs": [{**ONE, "shape": [1] * 100}]}, "inputs[0].shape"),
        ({"inputs": [{**ONE, "shape": [2**62, 2**62]}]}, "inputs[0]"),
        ({"inputs": [{**ONE, "shape": [2, 5]}]}, "needs 10 elements; there are 5"),
        ({"inputs": [{**ONE, "datatype": "BF16"}]}, "inputs[0].datatype"),
        ({"inputs": [tensor(row(), [1, *[int("9" * 4000)] * 2])]}, "inputs[0].shape"),
        ({"inputs": [{**ONE, "data": None}]}, "inputs[0].data"),
        ({"inputs": [{**ONE, "data": [[1], 2, 3, 4, 5]}]}, "inputs[0].data"),
        ({"inputs": [{**ONE, "data": [1, 2, 3, 4, True]}]}, "not FP32"),
        ({"inputs": [{**ONE, "data": [1, 2, 3, 4, "5"]}]}, "not FP32"),
        ({"inputs": [{**ONE, "data": [1, 2, 3, 4, 1e39]}]}, "beyond the range of FP32"),
        ({"inputs": [{**ONE, "datatype": "INT8", "data": [1, 2, 3, 4, 300]}]}, "beyond the range of INT8"),
        ({"inputs": [{**ONE, "datatype": "INT64", "data": [1, 2, 3, 4, 1.5]}]}, "not INT64"),
        ({"inputs": [{**ONE, "datatype": "BYTES"}]}, "not BYTES"),
        ({"inputs": [ONE, ONE]}, "must be 1 to 1 tensors; there are 2"),
        ({"inputs": [tensor(row(), [5])]}, "row 0 doesn't fit"),
        ({"inputs": [ONE], "outputs": [{"name": "z"}]}, "outputs[0].name"),
        ({"inputs": [ONE], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}, "classification"),
        ({"inputs": [ONE], "id": "x" * 200}, "id"),
        ({"inputs": [ONE], "id": 7}, "id"),
        ({"inputs": [{**ONE, "parameters": {"binary_data_size": 20}}]}, "binary_data_size"),
        ({"inputs": [{**ONE, "parameters": {"binary_data_size": True}}]}, "binary_data_size"),
        ({"inputs": [{**ONE, "parameters": {"shared_memory_region": "a"}, "data": None}]}, "inputs[0].data"),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_what_makes_no_sense_is_400_says_what_and_is_recorded(serve: Serve, body: Any, names: str) -> None:
    replica = serve()
    status, answer = await replica.send(body, INFER)
    assert (status, list(answer)) == (400, ["error"])
    assert names in answer["error"]
    (record,) = replica.records
    assert record.status == InferenceStatus.FAILED


async def test_the_models_own_failure_is_500_in_the_protocols_words(serve: Serve) -> None:
    status, answer = await serve().send({"inputs": [tensor(row(99), [1, 5])]}, INFER)
    assert (status, answer) == (500, {"error": "table 1.0.0 failed on this input"})


async def test_an_answer_that_no_form_can_write_is_the_models_failure_and_recorded(serve: Serve) -> None:
    replica = serve(Scores(lambda sum_: Prediction(sum_ if sum_ < 9 else object(), None)))
    for path, body in ((INFER, {"inputs": [tensor([[9, 9]], [1, 2])]}), (PATH, {"features": [9, 9]})):
        status, answer = await replica.send(body, path)
        assert status == 500
        assert "table 1.0.0 failed on this input" in json.dumps(answer)
    assert [(each.status, each.prediction) for each in replica.records] == [(InferenceStatus.FAILED, None)] * 2


async def test_an_answer_that_only_a_tensor_can_hold_is_the_models_failure_too(serve: Serve) -> None:
    replica = serve(Scores(lambda sum_: Prediction(sum_ if sum_ < 9 else np.float32(sum_), None)))
    assert (await replica.send({"inputs": [tensor([[9, 9]], [1, 2])]}, INFER))[0] == 500
    assert [each.status for each in replica.records] == [InferenceStatus.FAILED], "no record could keep it"


@pytest.mark.parametrize("length", ["", "-1", "x", "9" * 30, "10000"])
async def test_a_length_of_the_json_that_lies_is_400(serve: Serve, length: str) -> None:
    status, answer = await serve().send({"inputs": [ONE]}, INFER, inference_header_content_length=length)
    assert status == 400
    assert "Inference-Header-Content-Length" in answer["error"]


async def test_bytes_that_belong_to_nobody_are_400(serve: Serve) -> None:
    head = json.dumps({"inputs": [ONE]}).encode()
    status, answer = await serve().send(head + b"left", INFER, inference_header_content_length=str(len(head)))
    assert (status, answer["error"]) == (400, "inputs: 4 bytes behind the JSON belong to none of them")


elements = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
)


@given(data=elements, datatype=st.sampled_from(list(DTYPES)), shape=st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_any_json_is_a_tensor_of_its_shape_or_refused(data: Any, datatype: str, shape: list[int]) -> None:
    try:
        found = from_json(data, datatype, shape, "inputs[0]")
    except ValidationFailed:
        return
    assert (found.dtype, list(found.shape)) == (DTYPES[datatype], shape)


@given(data=st.binary(max_size=40), datatype=st.sampled_from(list(DTYPES)), count=st.integers(1, 5))
def test_any_bytes_are_a_tensor_that_becomes_the_same_bytes_or_refused(data: bytes, datatype: str, count: int) -> None:
    try:
        found = from_bytes(memoryview(data), datatype, [count], "inputs[0]")
    except ValidationFailed:
        return
    if datatype != "BOOL":
        assert to_bytes(found) == data


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> OpenInference:
    return Replica(tmp_path_factory.mktemp("form")).engine.tensors


@given(body=st.binary(max_size=200), length=st.none() | st.binary(max_size=4))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_body_is_read_or_refused(form: OpenInference, body: bytes, length: bytes | None) -> None:
    headers = {} if length is None else {b"inference-header-content-length": length}
    with pytest.raises(ValidationFailed):
        form.read(body, headers)


async def test_a_record_tells_the_tensors_and_the_outputs_that_were_named(serve: Serve) -> None:
    replica = serve()
    given = tensor(row(), [1, 5])
    (output,) = (await replica.send(b"", MODEL, method="GET"))[1]["outputs"]
    for outputs in ([], [{"name": output["name"]}]):
        assert (await replica.send({"inputs": [given], "outputs": outputs}, INFER))[0] == 200
    told = [json.loads(record.tensors or "") for record in replica.records]
    inputs = [{name: given[name] for name in ("name", "datatype", "shape")}]
    assert told == [{"inputs": inputs}, {"inputs": inputs, "outputs": [output["name"]]}]
    assert {record.form for record in replica.records} == {"tensors"}
