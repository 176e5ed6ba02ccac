"""What `hotswap audit` asks and shows."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fixtures.cli import Cli

EVENT: dict[str, Any] = {
    "number": 7,
    "at": "2026-11-26T12:00:00Z",
    "actor": "ann",
    "action": "abort",
    "targetType": "deployment",
    "target": "dep-1",
    "why": "errors at checkout",
    "before": None,
    "after": {"status": "RollingBack"},
    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
}


def test_who_did_what_is_listed_and_asked_for_as_it_was_said(cli: Cli) -> None:
    cli.on("GET", "/api/v1/audit", (200, {"items": [EVENT], "next": "7"}))
    shown = cli.run("audit", "dep-1", "--actor", "ann", "--since", "PT1H", "--limit", "1").stdout
    asked = cli.asked[0].url.params
    assert (asked["target"], asked["actor"], asked["limit"]) == ("dep-1", "ann", "1")
    assert "action" not in asked
    ago = datetime.now(UTC) - datetime.fromisoformat(asked["since"])
    assert timedelta(hours=1) <= ago < timedelta(hours=1, minutes=1)
    assert shown.splitlines()[1].split() == [
        *("2026-11-26", "12:00:00", "UTC", "ann", "abort", "deployment", "dep-1"),
        *("errors", "at", "checkout"),
    ]


def test_the_next_page_is_in_the_json(cli: Cli) -> None:
    cli.on("GET", "/api/v1/audit", (200, {"items": [EVENT], "next": "7"}))
    assert '"next": "7"' in cli.run("audit", "--json", "--cursor", "9").stdout
    assert cli.asked[0].url.params["cursor"] == "9"


def test_a_time_without_its_zone_is_refused_before_anybody_is_asked(cli: Cli) -> None:
    assert cli.run("audit", "--since", "2026-11-26T12:00:00").exit_code == 2
    assert cli.asked == []
