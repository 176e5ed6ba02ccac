"""What `hotswap tokens` asks and shows."""

import json
from typing import Any

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
