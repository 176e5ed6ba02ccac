"""Whatever a client sends, a version whose model is always fine answers no 5xx: it would be charged with it.

The same through the real Envoy is in tests/integration/test_client_input.py and test_client_headers.py; Ray Serve is in
tests/contracts/test_rayserve.py.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hotswap.domain.application import ReplicaResources
from hotswap.domain.registry import GoldenRequest
from serving import inference
from serving.inference import InferenceApp
from serving.runtimes import Prediction
from serving.runtimes.rows import NUMBER_OR_MISSING, RowColumns
from tests.fixtures.patience import patient
from tests.unit.serving.replica import PATH, FakeModel, Replica, received

pytestmark = pytest.mark.slow  # each sends many requests

ANYTHING: dict[str, Any] = {}
SCHEMAS = {
    "anything": ANYTHING,
    "text": {"type": "string", "maxLength": 20},
    "columns": RowColumns(2, ("a", "b"), NUMBER_OR_MISSING).schema,
    "rows": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
}
GOLDEN = {"anything": [GoldenRequest("x")]}
MODEL = "/Production-table-1a2b3c4d/v2/models/table"
PATHS = [
    *(PATH, f"{PATH}/batch", f"{MODEL}/infer", f"{MODEL}/versions/1.0.0/infer", MODEL, f"{MODEL}/ready", "/", ""),
    *(f"{PATH}/batch/", f"{MODEL}/versions/9.0.0/infer", "/Production-table-1a2b3c4d", f"{PATH}\ufffd"),
]
READ = [
    *("x-request-id", "x-entity-id", "x-hotswap-arm", "x-hotswap-fallback", "x-hotswap-chosen-by", "x-hotswap-version"),
    *("x-envoy-attempt-count", "x-envoy-expected-rq-timeout-ms", "inference-header-content-length", "content-length"),
    *("content-type", "accept", "authorization", "x-b"),
]


class Fine(FakeModel):
    """A model that answers anything that fits its schema."""

    def predict(self, instances: Sequence[Any]) -> list[Prediction]:
        return [Prediction(0.5, 0.5) for _ in instances]


numbers = st.integers() | st.floats() | st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**400, 1e308, 5e-324, -0.0])
text = st.text(st.characters(exclude_categories=()), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text | st.sampled_from("ab"), inner, max_size=3),
    max_leaves=6,
)
datatypes = st.sampled_from(["BOOL", "INT8", "UINT64", "FP16", "FP32", "FP64", "BYTES"]) | text
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["features", "a", "b"]) | text,
        "shape": st.lists(st.integers(-1, 3) | numbers, max_size=3),
        "datatype": datatypes,
    },
    optional={"data": values, "parameters": st.dictionaries(st.sampled_from(["binary_data_size", "x"]), values)},
)
requests = (
    st.fixed_dictionaries({"features": values}, optional={"version": values, "extra": values})
    | st.fixed_dictionaries({"instances": st.lists(values, max_size=3) | values}, optional={"version": text})
    | st.fixed_dictionaries(
        {"inputs": st.lists(tensors, max_size=2) | values},
        optional={
            "id": text | values,
            "parameters": values,
            "outputs": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from(["prediction", "confidence"]) | text}), max_size=2
            )
            | values,
        },
    )
)
bodies = (
    st.binary(max_size=60)
    | (requests | values).map(lambda each: json.dumps(each).encode())
    | (requests | values).map(lambda each: json.dumps(each, ensure_ascii=False).encode(errors="surrogatepass"))
    | st.tuples(requests.map(lambda each: json.dumps(each).encode()), st.binary(max_size=9)).map(b"".join)
)
header_values = st.binary(max_size=20) | st.sampled_from([b"9" * 5_000, b"-1", b"\xff", b"a" * 500, b"1e999", b"?1"])
headers = st.lists(st.tuples(st.sampled_from(READ).map(str.encode), header_values), max_size=5)
methods = st.sampled_from(["POST"] * 6 + ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW", ""])


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    """One for all requests, as a replica has: what is gathered waits on it."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module", params=SCHEMAS)
def replica(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Replica:
    found = Replica(
        tmp_path_factory.mktemp("spool"), Fine(SCHEMAS[request.param]), golden=GOLDEN.get(request.param, ())
    )
    found.engine.warm_up()
    return found


@pytest.fixture(scope="module")
def gathering(tmp_path_factory: pytest.TempPathFactory) -> Replica:
    """One that gathers single requests into a batch."""
    resources = ReplicaResources(max_batch_size=4, batch_wait_seconds=0.001)
    found = Replica(tmp_path_factory.mktemp("spool"), Fine(ANYTHING), golden=GOLDEN["anything"], resources=resources)
    found.engine.warm_up()
    return found


def status_of(loop: asyncio.Runner, replica: Replica, method: str, path: str, given_headers: Any, body: bytes) -> int:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def asked() -> None:
        scope = {"type": "http", "method": method, "path": path, "headers": given_headers, "query_string": b""}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inference, "_engine", replica.engine)
            await InferenceApp()(scope, received({"type": "http.request", "body": body}), send)

    loop.run(asyncio.wait_for(asked(), patient(10)))
    start, end = sent
    assert int(dict(start["headers"])[b"content-length"]) == len(end["body"])
    found: int = start["status"]
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(method=methods, path=st.sampled_from(PATHS), given_headers=headers, body=bodies)
@example(method="POST", path=PATH, given_headers=[], body=b'{"features": "\\ud800"}')
@example(method="POST", path=PATH, given_headers=[], body=b'{"features": 1, "version": "\\ud800"}')
@example(
    method="POST",
    path=PATH,
    given_headers=[(b"x-envoy-expected-rq-timeout-ms", b"9" * 5_000)],
    body=b'{"features": "x"}',
)
def test_nothing_that_a_client_sends_makes_a_fine_model_fail(
    loop: asyncio.Runner, replica: Replica, method: str, path: str, given_headers: Any, body: bytes
) -> None:
    assert status_of(loop, replica, method, path, given_headers, body) < 500


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(given_headers=headers, body=bodies)
def test_nor_where_requests_are_gathered(
    loop: asyncio.Runner, gathering: Replica, given_headers: Any, body: bytes
) -> None:
    assert status_of(loop, gathering, "POST", PATH, given_headers, body) < 500
