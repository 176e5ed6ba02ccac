"""The API over a real database and a real Temporal server."""

import contextlib
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client
from temporalio.worker import Worker

import tests.fixtures.examples  # noqa: F401  it registers the profiles
from api.orchestration import Orchestration
from hotswap.persistence.platform.database import Sessions
from tests.fixtures.api import FakeRay, make_app
from tests.fixtures.api_settings import make_settings
from tests.fixtures.patience import patience
from tests.integration.api_world import ApiWorld, fake_worker


@pytest.fixture
def api_waits() -> timedelta:
    """How long the API waits for a workflow's answer; a test that lives through it takes `NOT_FOR_LONG`."""
    return patience(seconds=30)


@pytest.fixture
async def world(
    sessions: Sessions, temporal_client: Client, tmp_path: Path, api_waits: timedelta
) -> AsyncIterator[ApiWorld]:
    """The API without a worker; a test that wants one starts it."""
    task_queue = f"api-{secrets.token_hex(4)}"
    settings = make_settings(tmp_path, deployments={"approval_required": []})
    orchestration = Orchestration(
        temporal_client, task_queue=task_queue, update_timeout=api_waits, registration_wait=api_waits
    )
    ray = FakeRay()
    app = make_app(settings, sessions, orchestration, ray)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hotswap") as http:
        model = f"fraud-{secrets.token_hex(4)}"
        yield ApiWorld(app, http, sessions, temporal_client, task_queue, settings, model, ray)


@pytest.fixture
async def worker(world: ApiWorld) -> AsyncIterator[Worker]:
    async with contextlib.AsyncExitStack() as stack:
        yield await stack.enter_async_context(fake_worker(world.temporal, world.sessions, world.task_queue))
