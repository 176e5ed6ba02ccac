"""What waits, and freezes, on the command line."""

import json
from typing import Any

from tests.fixtures.answers import accepted, deployment
from tests.fixtures.cli import Cli


def test_deploy_says_whom_it_waits_for(cli: Cli) -> None:
    waiting = {"queuePosition": 2, "message": "waits for its turn, as number 2 in line: dep-0 is under way"}
    cli.on("POST", "/api/v1/deployments", (202, accepted() | waiting))
    words = ["deploy", "fraud", "--on-conflict", "queue", "--start-at", "2026-12-27T06:00:00+01:00"]
    result = cli.run(*words)
    assert (result.exit_code, result.stdout) == (0, "dep-1\n")
    assert "number 2 in line: dep-0 is under way" in result.stderr
    body = json.loads(cli.asked[0].content)
    assert (body["onConflict"], body["startAt"]) == ("queue", "2026-12-27T06:00:00+01:00")


def test_one_that_waits_is_shown_with_its_place(cli: Cli) -> None:
    seen = deployment("Pending", 0.0, queuePosition=7, message="waits for a slot, as number 7 in line")
    cli.on("GET", "/api/v1/deployments/dep-1", (200, seen))
    cli.on("GET", "/api/v1/deployments", (200, {"items": [seen], "total": 1, "limit": 20, "offset": 0}))
    assert "place in line  7" in cli.run("get", "dep-1").stdout
    assert "Pending, number 7 in line" in cli.run("get").stdout
    ended = deployment("Active", 100.0)
    cli.on("GET", "/api/v1/deployments/dep-1", (200, seen), (200, ended))
    assert "waits for a slot, as number 7 in line" in cli.run("watch", "dep-1").stdout


def freeze(**changes: Any) -> dict[str, Any]:
    return {
        "freezeId": "frz-1",
        "environment": "Production",
        "reason": "holidays",
        "startsAt": "2026-12-20T00:00:00Z",
        "until": "2026-12-27T00:00:00Z",
        "createdBy": "ann",
        "isInForce": True,
        **changes,
    }


def test_an_environment_is_frozen_until_a_time_or_for_a_while(cli: Cli) -> None:
    cli.on("POST", "/api/v1/freezes", (201, freeze()))
    result = cli.run("freeze", "Production", "--until", "2026-12-27T00:00:00Z", "--reason", "holidays")
    assert (result.exit_code, result.stdout) == (0, "frz-1: Production is frozen until 2026-12-27 00:00:00Z\n")
    cli.run("freeze", "Production", "--until", "P3DT2H", "--reason", "r", "--from", "2026-12-20T00:00:00Z")
    first, second = (json.loads(request.content) for request in cli.asked)
    assert first == {"environment": "Production", "reason": "holidays", "until": "2026-12-27T00:00:00Z"}
    assert (second["duration"], second["startsAt"]) == ("P3DT2H", "2026-12-20T00:00:00Z")


def test_thaw_ends_what_is_in_force_and_nothing_that_is_planned(cli: Cli) -> None:
    planned = freeze(freezeId="frz-2", isInForce=False)
    page = {"items": [freeze(), planned], "total": 2, "limit": 200, "offset": 0}
    cli.on("GET", "/api/v1/freezes", (200, page))
    cli.on("DELETE", "/api/v1/freezes/frz-1", (200, freeze(isInForce=False)))
    cli.on("DELETE", "/api/v1/freezes/frz-2", (200, planned))
    assert cli.run("thaw", "Production").stdout == "frz-1 ended: Production, holidays\n"
    assert cli.run("thaw", "frz-2").stdout == "frz-2 ended: Production, holidays\n"
    shown = cli.run("freezes").stdout
    assert "in force" in shown
    assert "planned" in shown
    cli.on("GET", "/api/v1/freezes", (200, {**page, "items": [planned]}))
    result = cli.run("thaw", "Production")
    assert (result.exit_code, "Production is not frozen" in result.stderr) == (1, True)
