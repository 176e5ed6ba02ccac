"""What `hotswap tokens` asks and shows, and that a service token is enough to call with."""

import json
from typing import Any

import httpx
import pytest

from hotswap.client import ApiError, HotSwap
from hotswap.client.transport import ServiceToken
from tests.fixtures.cli import Cli

TOKEN: dict[str, Any] = {
    "tokenId": "tok-1a2b3c4d5e6f",
    "name": "checkout",
    "roles": ["Application", "payments:MLEngineer"],
    "createdBy": "ann",
    "createdAt": "2026-11-26T12:00:00Z",
    "expiresAt": "2126-11-26T12:00:00Z",
    "lastUsedAt": None,
    "revokedBy": None,
    "revokedAt": None,
}
SECRET = "hst_1a2b3c4d5e6f_secret"
PATH = "/api/v1/tokens"
EXCHANGE = "/api/v1/authentication/token"


def test_the_token_stands_alone_on_stdout(cli: Cli) -> None:
    cli.on("POST", PATH, (201, {**TOKEN, "token": SECRET}))
    words = ("checkout", "--role", "Application", "--role", "payments:MLEngineer", "--expires-in", "P30D")
    made = cli.run("tokens", "create", *words, "--reason", "calls")
    assert made.stdout == f"{SECRET}\n"
    assert "not shown again" in made.stderr
    assert SECRET not in made.stderr
    assert json.loads(cli.asked[0].content) == {
        "name": "checkout",
        "roles": ["Application", "payments:MLEngineer"],
        "expiresIn": "P30D",
        "reason": "calls",
    }


def test_a_token_without_a_role_is_refused_before_anybody_is_asked(cli: Cli) -> None:
    assert cli.run("tokens", "create", "checkout").exit_code == 2
    assert cli.asked == []


def test_tokens_are_listed_rotated_and_revoked(cli: Cli) -> None:
    cli.on("GET", PATH, (200, {"items": [TOKEN], "total": 1, "limit": 50, "offset": 0}))
    line = cli.run("tokens", "list").stdout.splitlines()[1]
    assert line.split()[:4] == ["checkout", "tok-1a2b3c4d5e6f", "Application,", "payments:MLEngineer"]
    assert line.split()[-1] == "never"
    cli.on("POST", f"{PATH}/checkout/rotate", (200, {**TOKEN, "token": SECRET}))
    assert cli.run("tokens", "rotate", "checkout", "--overlap", "PT1H").stdout == f"{SECRET}\n"
    assert json.loads(cli.asked[-1].content) == {"overlap": "PT1H"}
    cli.on("DELETE", f"{PATH}/checkout", (200, {**TOKEN, "revokedBy": "ann", "revokedAt": "2026-11-27T12:00:00Z"}))
    revoked = cli.run("tokens", "revoke", "checkout", "--reason", "leaked")
    assert revoked.stdout == "checkout (tok-1a2b3c4d5e6f) is revoked\n"


def test_a_service_token_is_exchanged_when_it_takes() -> None:
    now, asked = [0.0], list[tuple[str, str]]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, request.headers["authorization"]))
        if request.url.path == EXCHANGE:
            assert request.extensions["timeout"]["read"] == 7.0
            return httpx.Response(200, json={"access_token": f"jwt-{len(asked)}", "expires_in": 600})
        return httpx.Response(200, json={})

    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://hotswap.test", timeout=7.0) as client:
        client.auth = ServiceToken(SECRET, "http://hotswap.test", clock=lambda: now[0])
        for at in (0.0, 500.0, 541.0):
            now[0] = at
            client.get("/a")
    assert asked == [
        (EXCHANGE, f"Bearer {SECRET}"),
        ("/a", "Bearer jwt-1"),
        ("/a", "Bearer jwt-1"),
        (EXCHANGE, f"Bearer {SECRET}"),
        ("/a", "Bearer jwt-4"),
    ]


def test_a_token_that_is_refused_is_told_as_any_error() -> None:
    error = {"error": {"code": "UNAUTHORIZED", "message": "the service token is not valid"}}
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json=error))
    with HotSwap("http://hotswap.test/", SECRET, transport=transport) as hotswap, pytest.raises(ApiError) as told:
        hotswap.models.list()
    assert (told.value.code, told.value.status) == ("UNAUTHORIZED", 401)
    assert SECRET not in str(told.value)
