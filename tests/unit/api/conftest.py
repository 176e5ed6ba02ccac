"""The API with nothing behind it: what it must refuse or answer by itself needs no server."""

from collections.abc import AsyncIterator
from typing import cast

import httpx
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from api.orchestration import Orchestration
from hotswap.persistence.platform.database import Sessions
from hotswap.settings import Settings
from tests.fixtures.api import make_app


@pytest.fixture(scope="module")
async def api(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Its database is at a port where nothing listens; it has no Temporal at all."""
    engine = create_async_engine(settings.postgres.url.get_secret_value())
    app = make_app(settings, Sessions(engine), cast("Orchestration", None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hotswap") as client:
        yield client
    await engine.dispose()
