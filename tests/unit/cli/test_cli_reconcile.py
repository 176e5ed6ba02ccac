"""`hotswap reconcile` against canned answers: the table, and an exit code on which a pipeline can branch."""

import json
from typing import Any

import pytest

from tests.fixtures.cli import Cli

PATH = "/api/v1/reconciliation"
LOST = {
    "kind": "DeploymentWithoutWorkflow",
    "subject": "dep-1a2b3c4d",
    "expected": "the workflow deployment/Production/fraud is open",
    "actual": "no workflow of this id is open",
    "repair": "EndDeployment",
    "nextStep": "the reconciler starts a run that ends the deployment",
}
AHEAD = {
    "kind": "ProxyAhead",
    "subject": "envoy-0",
    "expected": "generation 51",
    "actual": "generation 150",
    "repair": None,
    "nextStep": "compare the routes",
}


def found(*findings: dict[str, Any], started: tuple[str, ...] = (), confirmed: bool = True) -> tuple[int, Any]:
    return 200, {"findings": findings, "started": started, "confirmed": confirmed}


def test_a_comparison_that_finds_nothing_ends_with_0(cli: Cli) -> None:
    cli.on("GET", PATH, found())
    result = cli.run("reconcile")
    assert (result.exit_code, result.stdout) == (0, "nothing differs\n")


def test_a_comparison_shows_each_difference_and_what_a_person_must_do(cli: Cli) -> None:
    cli.on("GET", PATH, found(LOST, AHEAD))
    result = cli.run("reconcile")
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()[1:]
    assert all(LOST[key] in first for key in ("kind", "subject", "expected", "actual", "nextStep"))
    assert "a person must: compare the routes" in second
    assert "2 differences: 1 the reconciler repairs, 1 need a person; `hotswap reconcile --repair`" in result.stderr
    assert [request.method for request in cli.asked] == ["GET"], "it changes nothing"


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (found(LOST, started=("deployment/Production/fraud",)), 0, "started: deployment/Production/fraud"),
        (found(LOST, AHEAD), 1, "1 need a person"),
        (found(LOST, confirmed=False), 1, "the repair still runs"),
        (found(), 0, ""),
    ],
)
def test_a_repair_says_what_it_started_and_what_is_left(cli: Cli, answer: Any, code: int, told: str) -> None:
    cli.on("POST", PATH, answer)
    result = cli.run("reconcile", "--repair", "--reason", "after a restore")
    assert result.exit_code == code
    assert told in result.stderr
    assert json.loads(cli.asked[0].content) == {"reason": "after a restore"}


def test_a_program_reads_the_answer_as_it_came(cli: Cli) -> None:
    cli.on("GET", PATH, found(LOST))
    result = cli.run("reconcile", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["findings"] == [LOST]


def test_a_reason_without_a_repair_is_refused(cli: Cli) -> None:
    result = cli.run("reconcile", "--reason", "x")
    assert result.exit_code == 2
    assert "--repair" in result.stderr
