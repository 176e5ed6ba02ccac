"""`hotswap apply` against the API: it makes what files say so, and the second time there is nothing to do."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from temporalio.worker import Worker
from typer.testing import CliRunner, Result

from hotswap.cli import console
from hotswap.cli.app import app
from hotswap.client import HotSwap
from hotswap.domain.vocabulary import Role
from hotswap.manifests.carrying import carry_out
from hotswap.manifests.looking import look
from hotswap.manifests.planning import plan
from hotswap.manifests.reading import ManifestText, read
from tests.integration.api_world import ApiWorld

MANIFEST = """\
apiVersion: hotswap/v1
kind: Model
name: {name}
framework: ONNX
description: of test transactions
owner: ann
tags: [fraud]
versions:
  - {{version: 1.0.0, artifactPath: s3://ml-models/{name}/1.0.0.tar.gz}}
  - {{version: 2.0.0, artifactPath: s3://ml-models/{name}/2.0.0.tar.gz}}
aliases: {{champion: 2.0.0}}
monitoring: {{samples: 100}}
environments:
  Staging: {{version: champion, strategyConfig: {{monitoringDuration: PT1M}}}}
"""


class Bridge(httpx.BaseTransport):
    """Lets a client of another thread ask the API, which lives in the test's event loop."""

    def __init__(self, world: ApiWorld) -> None:
        self._http = world.http
        self._loop = asyncio.get_running_loop()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def ask() -> httpx.Response:
            asked = {name: value for name, value in request.headers.items() if name != "host"}
            return await self._http.request(
                request.method, request.url.raw_path.decode(), headers=asked, content=request.read()
            )

        answer = asyncio.run_coroutine_threadsafe(ask(), self._loop).result(30)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


@pytest.fixture
async def connect(world: ApiWorld) -> Callable[[], HotSwap]:
    token = world.token(Role.ML_ENGINEER)["Authorization"].removeprefix("Bearer ")
    bridge = Bridge(world)
    return lambda: HotSwap("http://hotswap", token, transport=bridge)


async def test_files_come_true_and_then_there_is_nothing_to_do(
    world: ApiWorld, worker: Worker, connect: Callable[[], HotSwap], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOTSWAP_URL", "http://hotswap")
    monkeypatch.setattr(console, "HotSwap", lambda *_, **__: connect())
    file = tmp_path / "models" / "model.yaml"
    file.parent.mkdir()
    file.write_text(MANIFEST.format(name=world.model))

    async def apply(*words: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["apply", "-f", str(file.parent), *words])

    assert (await apply()).exit_code == 2  # nobody could be asked
    looked = await apply("--dry-run")
    assert looked.exit_code == 1, looked.output
    assert (await world.get(f"/api/v1/models/{world.model}")).status_code == 404

    done = await apply("--yes", "--json")
    assert done.exit_code == 0, done.output
    changes = json.loads(done.stdout)["changes"]
    assert [(each["action"], each["target"], each["after"], each["done"]) for each in changes] == [
        ("register", "1.0.0", f"s3://ml-models/{world.model}/1.0.0.tar.gz", True),
        ("register", "2.0.0", f"s3://ml-models/{world.model}/2.0.0.tar.gz", True),
        ("alias", "champion", "2.0.0", True),
        ("monitor", "samples", 100, True),
        ("deploy", "Staging", "2.0.0", True),
    ]
    model = (await world.get(f"/api/v1/models/{world.model}")).json()
    assert (model["description"], model["owner"], model["tags"]) == ("of test transactions", "ann", ["fraud"])
    assert model["aliases"] == {"champion": "2.0.0"}

    deployment = (await world.get(f"/api/v1/deployments/{changes[-1]['deploymentId']}")).json()
    assert (deployment["version"], deployment["environment"]) == ("2.0.0", "Staging")
    again = await apply("--yes")
    assert again.exit_code == 0
    assert f"2.0.0 is on its way to Staging by {deployment['deploymentId']}" in again.output
    assert (await apply("--dry-run")).exit_code == 0

    file.write_text(file.read_text().replace("owner: ann", "owner: bob"))
    assert (await apply("--yes")).exit_code == 0
    assert (await world.get(f"/api/v1/models/{world.model}")).json()["owner"] == "bob"


async def test_who_is_killed_after_asking_and_starts_anew_starts_no_second_deployment(
    world: ApiWorld, worker: Worker, connect: Callable[[], HotSwap]
) -> None:
    """Two that looked before either had asked: what the second asks for is what the first has started."""
    await world.add_version()
    text = MANIFEST.partition("description")[0] + "environments: {{Staging: {{version: 1.0.0}}}}"
    wanted = read([ManifestText("model.yaml", text.format(name=world.model))])

    def twice() -> list[str | None]:
        with connect() as hotswap:
            plans = [plan(wanted, look(hotswap, wanted)) for _ in range(2)]
            return [started for each in plans for _, started in carry_out(hotswap, each)]

    first, second = await asyncio.to_thread(twice)
    assert first is not None
    assert first == second


async def test_a_refusal_half_way_is_told_and_the_rest_is_done_the_next_time(
    world: ApiWorld, worker: Worker, connect: Callable[[], HotSwap], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOTSWAP_URL", "http://hotswap")
    monkeypatch.setattr(console, "HotSwap", lambda *_, **__: connect())
    file = tmp_path / "model.yaml"
    file.write_text(MANIFEST.format(name=world.model).replace("/2.0.0.tar.gz", "/missing.tar.gz"))

    async def apply() -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["apply", "-f", str(file), "--yes"])

    failed = await apply()
    assert failed.exit_code == 1
    assert "there is no such object" in failed.output
    assert "1 done, 4 not: apply again goes on from there" in failed.output
    file.write_text(file.read_text().replace("/missing.tar.gz", "/2.0.0.tar.gz"))
    done = await apply()
    assert done.exit_code == 0, done.output
    assert "register" in done.output
    assert "1.0.0.tar.gz" not in done.output
