"""An S3 that takes connections and never answers: who needs it is told so, and nobody else notices."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import httpx
import pytest
from argon2 import PasswordHasher

from api.orchestration import Orchestration
from hotswap.domain.vocabulary import Role
from hotswap.persistence.platform.database import Sessions
from hotswap.settings import StorageSettings
from hotswap.storage.calls import AT_ONCE
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage, Patience
from tests.fixtures.api import make_app, with_storage
from tests.fixtures.api_settings import SIGNING_KEY, bearer, make_settings
from tests.fixtures.patience import patient
from tests.integration.test_api_deployments import error_of

LONG, SHORT = Patience(connect=1, read=60, retries=1), Patience(connect=1, read=0.3, retries=1)


class Hanging:
    port = 0
    connections = 0

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def take(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await self.ended.wait()
        writer.close()


@pytest.fixture
async def hanging() -> AsyncIterator[Hanging]:
    taken = Hanging()
    async with await asyncio.start_server(taken.take, "127.0.0.1", 0) as server:
        taken.port = server.sockets[0].getsockname()[1]
        yield taken
        taken.ended.set()


async def test_who_needs_no_storage_is_answered_while_it_hangs(
    sessions: Sessions, hanging: Hanging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right horse")
    users, key = tmp_path / "users.toml", tmp_path / "key.json"
    users.write_text(f'[users.ann]\npassword = "{password}"\nroles = ["Viewer"]\n')
    key.write_text(json.dumps(SIGNING_KEY))
    storage = {"endpoint": f"127.0.0.1:{hanging.port}", "access_key": "tests", "secret_key": "tests"}
    known = StorageSettings.model_validate(storage)
    monkeypatch.setattr("tests.fixtures.api.ObjectStorage", lambda *_: ObjectStorage(known, LONG))
    monkeypatch.setattr("tests.fixtures.api.MultipartUploads", lambda *_: MultipartUploads(known, LONG))
    monkeypatch.setattr("hotswap.storage.calls.WAIT_SECONDS", 0.5)
    security = {"users_file": str(users), "signing_key_file": str(key)}
    settings = make_settings(tmp_path, storage=storage, security=security)
    app = make_app(settings, sessions, cast("Orchestration", None))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://hotswap") as http:

        async def push(number: int) -> httpx.Response:
            body = {"sha256": hashlib.sha256(bytes([number])).hexdigest(), "sizeBytes": 1, "fileName": "m.tar"}
            headers = bearer(settings, Role.DATA_SCIENTIST)
            return await http.post("/api/v1/models/fraud/uploads", headers=headers, json=body)

        pushes = [asyncio.create_task(push(number)) for number in range(40)]
        async with asyncio.timeout(patient(30)):
            while hanging.connections < AT_ONCE:
                await asyncio.sleep(0.01)
            login = await http.post("/api/v1/authentication/login", json={"user": "ann", "password": "right horse"})
            listed = await http.get("/api/v1/models", headers=bearer(settings, Role.VIEWER))
            await asyncio.get_running_loop().getaddrinfo("localhost", 80)
            assert (login.status_code, listed.status_code) == (200, 200)
            while (waiting := sum(not task.done() for task in pushes)) > AT_ONCE:
                await asyncio.sleep(0.01)
            assert waiting == AT_ONCE, "the others need not wait for S3 to end"
            hanging.ended.set()
            answers = await asyncio.gather(*pushes)
            hanging.ended.clear()
            calls = app.state.parts.uploads.storage.calls
            app.state.parts = with_storage(app.state.parts, ObjectStorage(known, SHORT), MultipartUploads(known, SHORT))
            answers.append(await push(41))
        assert {error_of(answer) for answer in answers} == {(503, "SERVICE_UNAVAILABLE")}
        assert {answer.headers["retry-after"] for answer in answers} == {"5"}
    calls.close()
    app.state.parts.uploads.storage.calls.close()
