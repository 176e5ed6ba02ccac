"""Local login: a password for a token that the API itself believes."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher

from hotswap.telemetry.logs import JsonFormatter
from tests.fixtures.api import app_of
from tests.fixtures.api_settings import SIGNING_KEY, make_settings

LOGIN = "/api/v1/authentication/login"


@pytest.fixture
def with_users(api: httpx.AsyncClient, tmp_path: Path) -> Iterator[httpx.AsyncClient]:
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    users, key = tmp_path / "users.toml", tmp_path / "key.json"
    users.write_text(
        f'[users.ann]\npassword = "{hasher.hash("right horse")}"\nroles = ["Viewer", "payments:MLEngineer"]\n'
    )
    key.write_text(json.dumps(SIGNING_KEY))
    app = app_of(api)
    settings = make_settings(tmp_path, security={"users_file": str(users), "signing_key_file": str(key)})
    without = app.state.parts
    app.state.parts = replace(without, settings=settings)
    yield api
    app.state.parts = without


async def test_a_login_gives_a_token_that_is_believed(with_users: httpx.AsyncClient) -> None:
    answer = await with_users.post(LOGIN, json={"user": "ann", "password": "right horse"})
    body = answer.json()
    assert (answer.status_code, body["tokenType"], body["expiresIn"]) == (200, "Bearer", 3600)
    headers = {"Authorization": f"Bearer {body['accessToken']}"}
    believed = await with_users.post("/api/v1/models", json={}, headers=headers)
    assert believed.status_code == 400  # past the rule, to the body
    refused = await with_users.post("/api/v1/freezes", json={}, headers=headers)
    assert "ann has Viewer, payments:MLEngineer" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "body", [{"user": "ann", "password": "wrong horse"}, {"user": "bob", "password": "right horse"}]
)
async def test_a_wrong_password_and_an_unknown_user_look_the_same(
    with_users: httpx.AsyncClient, body: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = await with_users.post(LOGIN, json=body)
    [logged] = [record for record in caplog.records if record.name == "api.authentication"]
    shown = JsonFormatter("api").format(logged)
    assert '"login refused"' in shown
    assert ("ann" in shown, "bob" in shown, "horse" in shown) == (body["user"] == "ann", False, False)
    told = answer.json()["error"]
    assert (answer.status_code, told["code"], told["message"]) == (401, "UNAUTHORIZED", "user or password is wrong")


async def test_a_role_that_there_is_not_stops_the_login_and_not_only_the_user(
    with_users: httpx.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "users.toml").write_text('[users.ann]\npassword = "x"\nroles = ["payments:Root"]\n')
    answer = await with_users.post(LOGIN, json={"user": "ann", "password": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")


async def test_without_users_there_is_no_login(api: httpx.AsyncClient) -> None:
    answer = await api.post(LOGIN, json={"user": "ann", "password": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
