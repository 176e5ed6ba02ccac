"""What `hotswap drift` asks and shows."""

from typing import Any

from tests.fixtures.cli import Cli

AMOUNT = {"kind": "numeric", "samples": 300, "distance": 0.61, "isDrifted": True, "psi": 0.61, "psiP": 0.0}
REPORT: dict[str, Any] = {
    "model": "fraud",
    "version": "1.0.0",
    "environment": "Production",
    "at": "2026-11-25T12:00:00Z",
    "since": "2026-11-25T11:00:00Z",
    "reference": "training",
    "samples": 300,
    "distance": 0.61,
    "isDrifted": True,
    "message": "amount is 0.61 from its training reference, the furthest of 2 features",
    "features": {
        "country": {**AMOUNT, "kind": "categorical", "distance": 0.0, "isDrifted": False, "ks": None, "ksP": None},
        "amount": {**AMOUNT, "ks": 0.412, "ksP": 0.0},
    },
}


def test_the_newest_report_is_shown_with_the_furthest_feature_first(cli: Cli) -> None:
    cli.on("GET", "/api/v1/models/fraud/drift", (200, REPORT))
    shown = cli.run("drift", "fraud", "--environment", "Staging").stdout
    assert cli.asked[0].url.params["environment"] == "Staging"
    assert REPORT["message"] in shown
    amount, country = (next(line for line in shown.splitlines() if line.startswith(each)) for each in ("amount", "cou"))
    assert shown.index(amount) < shown.index(country)
    assert amount.split() == ["amount", "numeric", "0.610", "0.610", "0.412", "drifted"]
    assert country.split() == ["country", "categorical", "0.000", "0.610"]


def test_now_makes_a_report_and_says_where_nothing_can_be_told(cli: Cli) -> None:
    few = {**REPORT, "distance": None, "isDrifted": None, "features": {}, "message": "3 records are fewer than 200"}
    cli.on("POST", "/api/v1/models/fraud/drift", (200, few))
    shown = cli.run("drift", "fraud", "--now").stdout
    assert "can't be told" in shown
    assert "3 records are fewer than 200" in shown
    assert '"isDrifted": null' in cli.run("drift", "fraud", "--now", "--json").stdout
