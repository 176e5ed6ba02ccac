"""Schemathesis holds the API to its own OpenAPI document: valid and invalid requests, every check, as Admin.

The application is served by uvicorn over real PostgreSQL and Temporal, so that HTTP itself is held to it too. The run
is bounded and the same each time; `make chaos` runs one that is longer and another each time.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.worker import Worker

from api.paging import write_cursor
from hotswap.domain.paging import PageKey
from hotswap.domain.vocabulary import Role
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.api import with_storage
from tests.fixtures.listening import serving
from tests.fixtures.s3 import S3Server
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import made_active

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"


@pytest.fixture
async def address(world: ApiWorld, s3: S3Server, bus: RedisTrafficBus) -> AsyncIterator[str]:
    parts = world.app.state.parts
    inference = parts.settings.inference.model_copy(update={"token_file": parts.settings.security.jwks_file})
    settings = parts.settings.model_copy(update={"inference": inference})
    parts = with_storage(parts, ObjectStorage(s3.settings()), MultipartUploads(s3.settings()))
    world.app.state.parts = replace(parts, settings=settings, bus=bus)
    async with serving(world.app) as address:
        yield address


KEYS: dict[str, PageKey] = {
    "MODELS": (datetime.now(UTC), "mod-1"),
    "VERSIONS": ("2.0.0",),
    "HISTORY": (datetime.now(UTC), 1),
    "DEPLOYMENTS": (datetime.now(UTC), "dep-1"),
    "FREEZES": (datetime.now(UTC), "frz-1"),
    "ALERTS": (datetime.now(UTC), "alr-1"),
    "AUDIT": (1,),
    "TOKENS": (datetime.now(UTC), "tok-1"),
    "PROXIES": ("envoy-0",),
}


async def names(world: ApiWorld) -> dict[str, str]:
    """Of what there is to be asked for."""
    engineer = world.token(Role.ML_ENGINEER)
    deployment = await made_active(world, "1.0.0")
    body = {"environment": "Development", "reason": "holidays", "duration": "PT1H"}
    frozen = await world.http.post("/api/v1/freezes", headers=engineer, json=body)
    path = f"/api/v1/models/{world.model}/aliases/champion"
    assert (await world.http.put(path, headers=engineer, json={"version": "1.0.0"})).status_code == 200
    cursors = {f"CURSOR_OF_{name}": write_cursor(name.lower(), key) for name, key in KEYS.items()}
    return {"MODEL": world.model, "DEPLOYMENT": deployment, "FREEZE": frozen.json()["freezeId"], **cursors}


async def schemathesis(world: ApiWorld, address: str, place: Path, *options: str) -> str:
    """What it found, as it reports it; empty for nothing."""
    process = await asyncio.create_subprocess_exec(
        str(SCHEMATHESIS),
        f"--config-file={CONFIGURATION}",
        "run",
        f"{address}/swagger/openapi.json",
        "--checks=all",
        "--no-color",
        "--continue-on-failure",
        f"--header=Authorization: {world.token(Role.ADMIN)['Authorization']}",
        *options,
        cwd=place,
        env={**{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, **await names(world)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return said.decode() if process.returncode else ""


@pytest.mark.timeout(600)
async def test_the_api_is_what_its_document_says(world: ApiWorld, worker: Worker, address: str, tmp_path: Path) -> None:
    assert await schemathesis(world, address, tmp_path, "--max-examples=2", "--generation-deterministic") == ""


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_it_is_that_for_whatever_is_asked(world: ApiWorld, worker: Worker, address: str, tmp_path: Path) -> None:
    assert await schemathesis(world, address, tmp_path, "--max-examples=100", "--generation-database=none") == ""
