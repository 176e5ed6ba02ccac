"""Random requests through the real Envoy to a replica's own application, over a model that is always fine: no 5xx."""

import asyncio
import json
import random
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn

from hotswap.domain.registry import GoldenRequest
from hotswap.domain.traffic import Arm, Counts, Fence, Route, TrafficPlan
from hotswap.domain.vocabulary import Environment, Role
from hotswap.traffic.bus import RedisTrafficBus
from serving import inference
from serving.inference import InferenceApp
from tests.fixtures.envoy import Gateway
from tests.fixtures.patience import until
from tests.fixtures.ports import free_port
from tests.integration.test_client_headers import ENVOYS, OTHERS, RAYS
from tests.unit.serving.replica import Replica
from tests.unit.serving.test_inference_fuzz import ANYTHING, Fine

ARM = Arm("Production-table-1a2b3c4d", "1.0.0", "dep-1a2b3c4d")
ASKED = {
    "/api/v1/inference/table": {"features": "x"},
    "/api/v1/inference/table/batch": {"instances": [1, None]},
    "/v2/models/table/infer": {"inputs": [{"name": "features", "shape": [1], "datatype": "INT8", "data": [1]}]},
    "/v2/models/table": {},
}
REQUESTS = 300


@pytest.fixture
async def replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of one that answers whatever it is asked."""
    found = Replica(tmp_path, Fine(ANYTHING), golden=[GoldenRequest("x")])
    found.engine.warm_up()
    monkeypatch.setattr(inference, "_engine", found.engine)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(InferenceApp(), port=port, log_config=None, lifespan="off"))
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started, what="the replica's start")
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    await running


def request(chance: random.Random, authorization: str) -> bytes:
    """One with a valid token, and anything else in it."""
    names = [*ENVOYS, *OTHERS, *RAYS, "x-request-id", "x-entity-id", "x-b", "accept", "inference-header-content-length"]
    names.remove("expect")  # it is answered twice
    lines = [f"{name}: ".encode() + printed(chance) for name in chance.sample(names, chance.randrange(6))]
    path, said = chance.choice(list(ASKED.items()))
    path += chance.choice([*[""] * 6, "?a=" + "%ff" * 3, "?", "?a=b&a=\xe4", "#x", "/..", "%2e"])
    body = json.dumps(said).encode()
    for _ in range(chance.choice([0, 0, 0, 1, 5])):
        at = chance.randrange(len(body) + 1)
        body = body[:at] + chance.randbytes(1) + body[at + chance.randrange(2) :]
    method = chance.choice(["POST"] * 9 + ["GET", "PUT", "HEAD", "OPTIONS", "BREW"])
    head = [f"{method} {path} HTTP/1.1".encode("latin-1"), b"host: hotswap", f"authorization: {authorization}".encode()]
    return b"\r\n".join([*head, *lines, b"connection: close", b"content-length: %d" % len(body), b"", body])


def printed(chance: random.Random) -> bytes:
    """Bytes that a header may have on the wire."""
    return bytes(chance.choice([*range(0x20, 0x7F), *range(0x80, 0x100)]) for _ in range(chance.randrange(12)))


async def test_no_request_makes_a_fine_version_fail(gateway: Gateway, bus: RedisTrafficBus, replica: str) -> None:
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    gateway.serve.targets = {ARM.application: (replica,)}
    route = Route(Environment.PRODUCTION, "table", ARM, None, 0, Fence(1, 1))
    authorization = gateway.token(Role.APPLICATION)["authorization"]
    answered: list[int] = []
    async with gateway.agent():
        await gateway.publish(bus, TrafficPlan(1, (route,)))
        for _ in range(REQUESTS):
            asked = request(chance, authorization)
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(asked)
            status = int((await reader.readline()).split(b" ")[1])
            writer.close()
            assert status < 500, asked
            answered.append(status)
        counts = Counts()

        async def all_counted() -> bool:
            nonlocal counts
            report = await gateway.report(bus)
            counts = report.counts.get(ARM.application, Counts()) if report else Counts()
            return counts.completed >= answered.count(200) // 2

        await until(all_counted, what="the counts")
    assert counts.server_errors == 0
    assert answered.count(200) > 20, "most of it is hostile, not all"
