"""What is secret goes where it must and nowhere else: not into logs, answers, rows, or a workflow's history.

The API's own secrets and its callers' are told apart from everything by a mark, and real requests are made that go well
and that go wrong; then whatever came of them is searched. tests/e2e/test_secrets.py does the same to a whole stack.
"""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from temporalio.worker import Worker

from hotswap.security import service_tokens
from hotswap.security.signing import write_keys
from hotswap.settings import Settings, SettingsError, load
from hotswap.telemetry.logs import JsonFormatter
from tests.fixtures.api_settings import SIGNING_KEY, make_settings
from tests.integration.api_world import ApiWorld

MARK = "mark-of-a-secret"
PASSWORD, WRONG = f"{MARK}-right", f"{MARK}-wrong"
LOGIN, EXCHANGE = "/api/v1/authentication/login", "/api/v1/authentication/token"

MARKED = {
    "storage": {"access_key": MARK, "secret_key": MARK},
    "ray": {"auth_token": MARK},
    "analysis": {"webhooks": {"gate": f"http://127.0.0.1:1/{MARK}"}},
    "notifications": {"webhooks": {"training": f"http://127.0.0.1:1/{MARK}"}},
}


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the API's process writes, as `configure_logging` has it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonFormatter("api"))
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield written
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.fixture
def marked(world: ApiWorld) -> ApiWorld:
    directory = world.settings.security.jwks_file.parent
    users, keys = directory / "users.toml", directory / "keys.json"
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    users.write_text(f'[users.ann]\npassword = "{hasher.hash(PASSWORD)}"\nroles = ["Admin"]\n')
    keys.write_text(write_keys([SIGNING_KEY]))
    told = {"users_file": str(users), "signing_key_file": str(keys)}
    world.settings = make_settings(directory, security=told, deployments={"approval_required": []}, **MARKED)
    world.app.state.parts = replace(world.app.state.parts, settings=world.settings)
    return world


async def test_secrets_are_found_nowhere(marked: ApiWorld, worker: Worker, log: io.StringIO) -> None:
    http, said = marked.http, list[str]()

    async def ask(method: str, path: str, token: str = "", **options: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = await http.request(method, path, headers=headers, **options)
        told: dict[str, Any] = answer.json()
        # Where a secret is what was asked for, it is in that field alone.
        said.append(json.dumps({name: value for name, value in told.items() if not name.lower().endswith("token")}))
        said.append(str(sorted(answer.headers.items())))
        return told

    token = (await ask("POST", LOGIN, json={"user": "ann", "password": PASSWORD}))["accessToken"]
    made = await ask("POST", "/api/v1/tokens", token, json={"name": marked.model, "roles": ["MLEngineer"]})
    rotated = await ask("POST", f"/api/v1/tokens/{marked.model}/rotate", token, json={"reason": "yearly"})
    exchanged = (await ask("POST", EXCHANGE, rotated["token"]))["access_token"]
    for body in (
        {"user": "ann", "password": WRONG},
        {"user": WRONG, "password": "x"},
        {"user": "ann", "password": [WRONG]},
        {"user": "ann", "password": "x", "extra": WRONG},
        {"user": "ann", "password": WRONG * 200},
    ):
        await ask("POST", LOGIN, json=body)
    await ask("POST", LOGIN, content=f'{{"user": "ann", "password": "{WRONG}'.encode())
    for wrong in (WRONG, made["token"] + "x", token + "x", service_tokens.mint(made["tokenId"])):
        await ask("GET", "/api/v1/models", wrong)
        await ask("POST", EXCHANGE, wrong)
    await ask("GET", "/api/v1/models", rotated["token"])

    async def register(version: str, artifact: str) -> None:
        body = {
            "name": marked.model,
            "version": version,
            "framework": "ONNX",
            "artifactPath": f"s3://ml-models/{artifact}",
        }
        await ask("POST", "/api/v1/models", exchanged, json=body)

    for number, artifact in enumerate(("good.tar.gz", "missing.tar.gz", "broken.tar.gz")):
        await register(f"{number}.0.0", artifact)
    deployed = await ask("POST", "/api/v1/deployments", exchanged, json={"modelId": marked.model})
    await ask("POST", f"/api/v1/deployments/{deployed['deploymentId']}/abort", exchanged, json={"reason": "enough"})
    await ask("GET", "/api/v1/audit", token, params={"limit": 200})
    await ask("GET", "/api/v1/tokens", token)
    await ask("DELETE", f"/api/v1/tokens/{made['tokenId']}", token)
    broken = replace(marked.app.state.parts, deployments=None)  # a bug: what is logged of it has a traceback
    whole, marked.app.state.parts = marked.app.state.parts, broken
    await ask("GET", "/api/v1/models", token)
    marked.app.state.parts = whole

    secrets = {
        "a mark": MARK,
        "the signing key": SIGNING_KEY["d"],
        "the login's token": token.rpartition(".")[2],
        "the exchanged token": exchanged.rpartition(".")[2],
        "the service token": made["token"].split("_")[2],
        "its new secret": rotated["token"].split("_")[2],
    }
    places = {
        "the log": log.getvalue(),
        "an answer": "\n".join(said),
        "the database": await _rows(marked),
        "a workflow's history": await _histories(marked),
        "the settings' text": repr(marked.settings) + str(marked.settings.model_dump()),
    }
    assert all(len(searched) > 500 for searched in places.values()), "there is something to search"
    assert "Traceback" in places["the log"]
    assert marked.model in places["the database"]
    assert marked.model in places["a workflow's history"]
    found = [
        f"{secret} is in {place}" for place, text_ in places.items() for secret, it in secrets.items() if it in text_
    ]
    assert found == []


async def _rows(world: ApiWorld) -> str:
    """Every row of every table, as text."""
    async with world.sessions() as session:
        tables = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        rows = [
            row
            for table in tables.all()
            for row in await session.scalars(text(f'SELECT "each"::text FROM "{table}" AS "each"'))
        ]
    return "\n".join(rows)


async def _histories(world: ApiWorld) -> str:
    """All that Temporal keeps of the workflows of this test, its payloads as they are."""
    found = []
    for kind in ("registration", "deployment"):
        versions = ("0.0.0", "1.0.0", "2.0.0") if kind == "registration" else ("",)
        for version in versions:
            identifier = f"registration/{world.model}/{version}" if version else f"deployment/Production/{world.model}"
            history = await world.temporal.get_workflow_handle(identifier).fetch_history()
            found += [event.SerializeToString().decode(errors="replace") for event in history.events]
    return "\n".join(found)


def test_a_setting_that_is_wrong_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOTSWAP_POSTGRES__URL", "HOTSWAP_STORAGE__SECRET_KEY", "HOTSWAP_RAY__AUTH_TOKEN"):
        monkeypatch.setenv(name, MARK)
    monkeypatch.setenv("HOTSWAP_STORAGE__USE_TLS", MARK)
    with pytest.raises(SettingsError, match=r"HOTSWAP_[A-Z]+__[A-Z_]+") as error:
        load(Settings)
    assert MARK not in str(error.value)
    assert error.value.__suppress_context__, "nor in what it came of"


def test_every_setting_that_is_secret_is_kept_as_one() -> None:
    """By its name: a password that is a plain string would be in the first message that shows the settings."""
    for section, field in Settings.model_fields.items():
        for name, setting in getattr(field.annotation, "model_fields", {}).items():
            if any(word in name for word in ("secret", "password", "webhook", "access_key", "auth_token")):
                assert "SecretStr" in str(setting.annotation), f"{section}.{name}"


async def test_an_error_of_the_database_does_not_repeat_what_it_was_given(world: ApiWorld) -> None:
    async with world.sessions() as session:
        with pytest.raises(SQLAlchemyError) as failed:
            await session.execute(text("SELECT 1 / 0 WHERE :features <> ''"), {"features": "marked-features"})
    assert "marked-features" not in str(failed.value)
    assert "division by zero" in str(failed.value)
