"""An abort by the API needs no connection to PostgreSQL that other requests can use up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import SecretStr
from temporalio.worker import Worker

from api.app import ROUTERS
from api.routing import WayBackRoute
from hotswap.domain.vocabulary import Role
from hotswap.persistence.platform.database import Sessions, create_sessions
from hotswap.settings import PostgresSettings
from tests.fixtures.api import make_app
from tests.fixtures.patience import patient
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import started
from tests.integration.test_api_queue import accepted


@pytest.fixture
async def narrow(postgres_url: str) -> AsyncIterator[Sessions]:
    """The sessions of an API that has few connections."""
    made = create_sessions(PostgresSettings(url=SecretStr(postgres_url), pool_size=1, way_back_pool_size=1))
    yield made
    await made.aclose()


async def test_an_abort_is_answered_while_slow_requests_have_every_connection(
    world: ApiWorld, worker: Worker, narrow: Sessions
) -> None:
    await world.add_version()
    first = await started(world)
    second = (await accepted(world, onConflict="queue"))["deploymentId"]
    app = make_app(world.settings, narrow, world.app.state.parts.orchestration, world.ray)
    transport = httpx.ASGITransport(app=app)
    async with AsyncExitStack() as slow, httpx.AsyncClient(transport=transport, base_url="http://hotswap") as http:
        for _ in range(2):
            await slow.enter_async_context(narrow.engine.connect())
        listing = asyncio.create_task(http.get("/api/v1/models", headers=world.token(Role.VIEWER)))
        async with asyncio.timeout(patient(20)):
            for number, deployment_id in enumerate((second, first)):
                headers = world.token(Role.ML_ENGINEER) | {"Idempotency-Key": f"abort-{number}"}
                answer = await http.post(f"/api/v1/deployments/{deployment_id}/abort", headers=headers)
                assert answer.status_code == 200, answer.text
            again = await http.post(f"/api/v1/deployments/{first}/abort", headers=headers)
            assert again.headers["idempotent-replayed"] == "true"
        assert not listing.done(), "it has no connection still"
        listing.cancel()
        await asyncio.wait([listing])


def test_only_what_takes_traffic_back_has_these_connections() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    back = {route.path.rpartition("/")[2] for route in routes if isinstance(route, WayBackRoute)}
    assert back == {"abort", "rollback"}
