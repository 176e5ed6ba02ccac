"""The Open Inference Protocol at the public address: through the real Envoy, to toy replicas that tell what reaches
them, and to a real one that Triton's own client asks.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.http.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from hotswap.domain.application import ApplicationSpec, ArtifactRef
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.vocabulary import Environment, Framework, Role
from hotswap.inference.records import InferenceRecord, decode_record
from hotswap.traffic.bus import RedisTrafficBus
from serving import inference
from serving.engine import Engine
from serving.inference import InferenceApp
from serving.runtimes import load
from serving.spool import SpoolWriter, read_frames, segments
from tests.fixtures.envoy import Gateway, Upstream
from tests.fixtures.listening import serving
from tests.fixtures.models import save_identity, save_table
from tests.fixtures.patience import patient
from tests.fixtures.traffic import CANDIDATE, STABLE, plan, until

BODY: dict[str, Any] = {"inputs": []}


async def ask(gateway: Gateway, method: str, path: str, *roles: Role, **headers: str) -> httpx.Response:
    given = (gateway.token(*roles) if roles else {}) | {name.replace("_", "-"): each for name, each in headers.items()}
    return await gateway.http.request(method, path, headers=given, json=BODY if method == "POST" else None)


@pytest.mark.usefixtures("upstreams")
async def test_health_is_anybodys_and_all_else_needs_a_token_and_a_role(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        for path, told in (("/v2/health/live", {"live": True}), ("/v2/health/ready", {"ready": True})):
            answer = await ask(gateway, "GET", path)
            assert (answer.status_code, answer.json()) == (200, told)
            assert answer.headers["content-type"] == "application/json"
        for method, path in (
            ("GET", "/v2"),
            ("GET", "/v2/models/fraud"),
            ("GET", "/v2/models/fraud/ready"),
            ("GET", "/v2/models/unknown"),
            ("POST", "/v2/models/fraud/infer"),
            ("POST", "/v2/models/fraud/versions/1.0.0/infer"),
            ("POST", "/v2/models/fraud/versions/9.0.0/infer"),
            ("POST", "/v2/anything"),
        ):
            for roles, status in (((), 401), ((Role.VIEWER,), 403)):
                answer = await ask(gateway, method, path, *roles)
                assert (answer.status_code, list(answer.json())) == (status, ["error"]), (method, path)
                assert isinstance(answer.json()["error"], str)
        answer = await ask(gateway, "GET", "/v2", Role.APPLICATION)
        assert answer.json().items() >= {"name": "hotswap", "extensions": ["binary_tensor_data"]}.items()


@pytest.mark.usefixtures("upstreams")
async def test_a_request_finds_its_arm_as_in_the_other_forms_and_by_the_version_in_its_path(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, 0))
        for path, headers, arm in (
            ("fraud/infer", {}, STABLE),
            ("fraud/infer", {"x_hotswap_version": "2.0.0"}, CANDIDATE),
            ("fraud/infer", {"x_hotswap_tester": "true"}, CANDIDATE),
            ("fraud/versions/2.0.0/infer", {}, CANDIDATE),
            ("fraud/versions/2.0.0/infer", {"x_hotswap_version": "1.0.0"}, CANDIDATE),
            ("fraud/versions/1.0.0/infer", {"x_hotswap_tester": "true"}, STABLE),
        ):
            answer = await ask(gateway, "POST", f"/v2/models/{path}", Role.APPLICATION, **headers)
            assert answer.status_code == 200, answer.text
            assert answer.json()["from"] == arm.application
            assert answer.json()["path"] == f"/{arm.application}/v2/models/{path}"
            assert answer.headers["x-hotswap-version"] == arm.version
        for path, said in (
            ("unknown/infer", "no model of this name"),
            ("frau/infer", "no model of this name"),
            ("fraud/versions/9.0.0/infer", "this version of fraud is not up"),
            ("fraud/versions/1.0/infer", "this version of fraud is not up"),
            ("fraud/warm-up", "there are /v2"),
            ("fraud/versions", "there are /v2"),
            ("fraud/versions/1.0.0/warm-up", "there are /v2"),
            ("fraud/../fraud/warm-up", "there are /v2"),
        ):
            answer = await ask(gateway, "POST", f"/v2/models/{path}", Role.APPLICATION)
            assert answer.status_code == 404, path
            assert said in answer.json()["error"], path
        answer = await ask(gateway, "GET", "/v2/models/fraud", Role.APPLICATION, x_hotswap_environment="Staging")
        assert answer.status_code == 404


@pytest.mark.usefixtures("upstreams")
async def test_only_inference_is_counted(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(1, TOTAL_WEIGHT))
        for _ in range(10):
            assert (await ask(gateway, "GET", "/v2/models/fraud/ready", Role.APPLICATION)).status_code == 200
        for method, path, allowed in (
            ("POST", "", "GET"),
            ("POST", "/ready", "GET"),
            ("POST", "/versions/2.0.0", "GET"),
            ("DELETE", "/ready?a=/infer", "GET"),
            ("GET", "/infer", "POST"),
            ("PUT", "/versions/2.0.0/infer?a=b", "POST"),
        ):
            answer = await ask(gateway, method, f"/v2/models/fraud{path}", Role.APPLICATION)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed), (method, path)
            assert allowed in answer.json()["error"], "Envoy's own answer, no replica's"
        for _ in range(3):
            answer = await ask(gateway, "POST", "/v2/models/fraud/infer", Role.APPLICATION, x_entity_id="ann")
            assert answer.json()["from"] == CANDIDATE.application
        counts = await until(gateway, bus, 3, CANDIDATE.application)
        assert (counts.completed, counts.sticky, sum(counts.latency.values())) == (3, 3, 3)


async def test_a_candidates_failure_falls_back_here_too(gateway: Gateway, bus: RedisTrafficBus) -> None:
    stable, broken = await gateway.upstream("stable"), await gateway.upstream("broken", status=500)
    gateway.serve.targets = {STABLE.application: (stable.target,), CANDIDATE.application: (broken.target,)}
    async with gateway.agent():
        await gateway.publish(bus, plan(1, TOTAL_WEIGHT))
        answer = await ask(gateway, "POST", "/v2/models/fraud/infer", Role.APPLICATION)
        assert (answer.status_code, answer.json()["from"]) == (200, "stable")
        assert answer.json()["path"] == f"/{STABLE.application}/v2/models/fraud/infer"


async def test_the_server_is_ready_when_somebody_answers_for_each_arm_that_has_weight(
    gateway: Gateway, bus: RedisTrafficBus, upstreams: dict[str, Upstream]
) -> None:
    async def becomes(status: int) -> httpx.Response:
        async with asyncio.timeout(patient(20)):
            while (answer := await ask(gateway, "GET", "/v2/health/ready")).status_code != status:
                await asyncio.sleep(0.05)
        return answer

    async with gateway.agent():
        assert (await becomes(200)).json() == {"ready": True}, "there is nothing that should serve"
        gateway.serve.targets.pop(CANDIDATE.application)
        await gateway.publish(bus, plan(1, 0))
        await becomes(200)
        gateway.serve.targets = {"Production-other": (upstreams[STABLE.application].target,)}
        assert (await becomes(503)).json() == {"error": "nothing that could answer this is ready; try again"}
        assert (await ask(gateway, "GET", "/v2/health/live")).status_code == 200
        answer = await ask(gateway, "GET", "/v2/models/fraud/ready", Role.APPLICATION)
        assert (answer.status_code, list(answer.json())) == (503, ["error"])
        gateway.serve.targets = {STABLE.application: (upstreams[STABLE.application].target,)}
        await becomes(200)


class Served:
    """A replica of `STABLE`, with a real model, behind the gateway."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put_in_place(self) -> Engine:
        model = load(Framework.ONNX, self.directory)
        spec = ApplicationSpec(
            name=STABLE.application,
            deployment_id=STABLE.deployment_id,
            environment=Environment.PRODUCTION,
            model="fraud",
            version=STABLE.version,
            framework=Framework.ONNX,
            artifact=ArtifactRef("s3://ml-models/fraud.tar.gz", "0" * 64, 1),
            input_schema=model.input_schema,
            output_schema=model.output_schema,
        )
        engine = Engine(spec, model, SpoolWriter(self.directory, application=spec.name, max_bytes=10**6), [])
        inference.start(engine)
        return engine

    @property
    def records(self) -> list[InferenceRecord]:
        found = [
            read_frames(path.read_bytes(), is_final=True)
            for each in (self.directory / STABLE.application).iterdir()
            for path in segments(each)
        ]
        return [decode_record(record) for frames in found for record in frames.records]


@pytest.fixture
async def served(
    gateway: Gateway, bus: RedisTrafficBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Served]:
    monkeypatch.setattr(inference, "_engine", None)
    found = Served(tmp_path)
    async with serving(InferenceApp()) as address, gateway.agent():
        gateway.serve.targets = {STABLE.application: (address.removeprefix("http://"),)}
        await gateway.publish(bus, plan(1, None))
        yield found


@pytest.fixture
async def triton(gateway: Gateway) -> AsyncIterator[InferenceServerClient]:
    """Triton's client, as anybody installs it."""
    async with InferenceServerClient(f"127.0.0.1:{gateway.port}") as client:
        yield client


async def test_tritons_client_finds_its_way(gateway: Gateway, served: Served, triton: InferenceServerClient) -> None:
    save_table(served.directory, features=5)
    served.put_in_place()
    token = gateway.token(Role.APPLICATION)
    assert await triton.is_server_live()
    assert await triton.is_server_ready()
    assert (await triton.get_server_metadata(headers=token))["name"] == "hotswap"
    assert await triton.is_model_ready("fraud", headers=token)
    assert await triton.is_model_ready("fraud", "1.0.0", headers=token)
    assert not await triton.is_model_ready("fraud", "9.0.0", headers=token)
    told = await triton.get_model_metadata("fraud", headers=token)
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 5]}]
    rows = np.array([[4, 0, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=np.float32)
    for version, is_binary in (("", True), ("1.0.0", False), ("1.0.0", True)):
        given = InferInput("x", rows.shape, "FP32").set_data_from_numpy(rows, binary_data=is_binary)
        answer = await triton.infer(
            "fraud",
            [given],
            version,
            [InferRequestedOutput("y", binary_data=is_binary)],
            request_id=f"r-{version}-{is_binary}",
            headers=dict(token),  # it writes its own into them
        )
        assert answer.as_numpy("y").tolist() == [[40], [10]]
        assert answer.get_response()["id"] == f"r-{version}-{is_binary}"
    answer = await triton.infer("fraud", [given], headers=dict(token))
    assert answer.as_numpy("y").tolist() == [[40], [10]], "all outputs where none is named"
    assert [record.request_id for record in served.records][:3] == ["r--True", "r-1.0.0-False", "r-1.0.0-True"]
    assert {(record.instances, record.status) for record in served.records} == {(2, "Completed")}
    with pytest.raises(InferenceServerException, match="valid bearer token"):
        await triton.infer("fraud", [given])
    wrong = InferInput("x", [1, 2], "FP32").set_data_from_numpy(rows[:1, :2])
    with pytest.raises(InferenceServerException, match="row 0 doesn't fit the model's schema"):
        await triton.infer("fraud", [wrong], headers=dict(token))
    with pytest.raises(InferenceServerException, match="no model of this name"):
        await triton.infer("unknown", [given], headers=dict(token))


async def test_tritons_client_gets_each_kind_of_element_back(
    gateway: Gateway, served: Served, triton: InferenceServerClient
) -> None:
    for kind, datatype, values in (
        (TensorProto.STRING, "BYTES", np.array([["grün"], [""]], dtype=object)),
        (TensorProto.BOOL, "BOOL", np.array([[True], [False]])),
        (TensorProto.INT64, "INT64", np.array([[2**63 - 1], [-1]])),
        (TensorProto.UINT8, "UINT8", np.array([[255], [0]], dtype=np.uint8)),
    ):
        save_identity(served.directory, kind, ["n", 1])
        served.put_in_place()
        for is_binary in (True, False):
            given = InferInput("x", values.shape, datatype).set_data_from_numpy(values, binary_data=is_binary)
            wanted = [InferRequestedOutput("y", binary_data=is_binary)]
            answer = await triton.infer("fraud", [given], outputs=wanted, headers=gateway.token(Role.APPLICATION))
            found = answer.as_numpy("y").ravel().tolist()
            plain = [each.decode() if isinstance(each, bytes) else each for each in found]
            assert plain == values.ravel().tolist(), (datatype, is_binary)
