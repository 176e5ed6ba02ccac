"""Deployments followed to their end on the command line: what is said meanwhile, and the exit code."""

import json
from datetime import UTC, datetime

import pytest

from hotswap.cli import watch
from hotswap.schemas.responses import DeploymentView
from tests.fixtures.answers import accepted, answer, deployment, error
from tests.fixtures.cli import BACK, FORWARD, VERBS, Cli

ENDS = [
    ("Active", "Completed", 0),
    ("RolledBack", "ErrorRateIncreased", 3),
    ("Cancelled", "Rejected", 4),
    ("Cancelled", "Aborted", 5),
    ("Failed", "ReplicasFailed", 6),
]


@pytest.mark.parametrize(("end", "reason", "code"), ENDS)
def test_deploy_wait_exits_with_how_it_ended(cli: Cli, end: str, reason: str, code: int) -> None:
    cli.on("POST", "/api/v1/deployments", (202, accepted()))
    last = deployment(end, 0.0, reason=reason)
    cli.on("GET", "/api/v1/deployments/dep-1", (200, deployment("Progressing", 55.5)), (200, last))
    result = cli.run("deploy", "fraud", "--wait", "--timeout", "PT1H")
    assert result.exit_code == code
    first, progressing, ended = result.stdout.splitlines()
    assert first == "dep-1"
    assert "55.5%" in progressing
    assert "step 2/3" in progressing
    assert "candidate 5.00% (1/20), stable 0.50% (2/400)" in progressing
    assert end in ended
    assert cli.run("watch", "dep-1").exit_code == code


@pytest.mark.parametrize(
    ("verb", "end", "code"),
    [
        *((verb, "Active", 0) for verb in FORWARD),
        *((verb, "RolledBack", 3) for verb in FORWARD),
        *((verb, end, 0) for verb in BACK for end in ("RolledBack", "Cancelled")),
        *((verb, "Active", 1) for verb in BACK),
        *((verb, "Failed", 6) for verb in VERBS),
    ],
)
def test_a_word_can_wait_for_what_it_wanted(cli: Cli, verb: str, end: str, code: int) -> None:
    cli.on("POST", f"/api/v1/deployments/dep-1/{verb}", (200, answer()))
    cli.on("GET", "/api/v1/deployments/dep-1", (200, deployment("Progressing", 10.0)), (200, deployment(end, 0.0)))
    assert cli.run(verb, "dep-1", "--wait").exit_code == code


def test_a_rollback_after_the_end_waits_for_the_version_before_to_be_active(cli: Cli) -> None:
    cli.on("POST", "/api/v1/deployments/dep-0/rollback", (202, answer()))
    cli.on("GET", "/api/v1/deployments/dep-1", (200, deployment("Active", 100.0)))
    assert cli.run("rollback", "dep-0", "--wait").exit_code == 0
    cli.on("GET", "/api/v1/deployments/dep-1", (200, deployment("RolledBack", 0.0)))
    assert cli.run("rollback", "dep-0", "--wait").exit_code == 3


@pytest.mark.parametrize("timeout", ["0.01", "PT0.01S"])
def test_who_waits_no_longer_is_told_that_it_goes_on(cli: Cli, timeout: str) -> None:
    cli.on("GET", "/api/v1/deployments/dep-1", (200, deployment("Progressing", 10.0)))
    result = cli.run("watch", "dep-1", "--timeout", timeout)
    assert result.exit_code == 124
    assert "dep-1 is still Progressing after 0.01 s" in result.stderr
    assert "hotswap watch dep-1" in result.stderr


def test_watch_says_each_change_once_and_waits_for_an_api_that_is_away(cli: Cli) -> None:
    cli.on(
        "GET",
        "/api/v1/deployments/dep-1",
        (200, deployment("Progressing", 10.0)),
        (200, deployment("Progressing", 10.0)),
        (503, error("SERVICE_UNAVAILABLE", "the database is away")),
        (200, deployment("Active", 100.0)),
    )
    result = cli.run("watch", "dep-1")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2


def test_watch_json_is_one_document_a_line(cli: Cli) -> None:
    cli.on(
        "GET", "/api/v1/deployments/dep-1", (200, deployment("Promoting", 100.0)), (200, deployment("Active", 100.0))
    )
    result = cli.run("watch", "dep-1", "--json")
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["Promoting", "Active"]


@pytest.mark.parametrize("command", ["deploy", "watch", *VERBS])
def test_who_waits_is_told_the_exit_codes_and_can_stop_waiting(cli: Cli, command: str) -> None:
    told = " ".join(cli.run(command, "--help").stdout.split())
    assert "Exit code when the deployment is followed: 0" in told
    assert "124 --timeout was reached first" in told


def test_time_left_counts_this_bake_and_those_after_it() -> None:
    seen = DeploymentView.model_validate(deployment("Progressing", 55.5))
    now = datetime(2030, 1, 1, tzinfo=UTC)
    assert watch.time_left(seen, now=now) == "0:30 in this step, 1:30 in all"
    assert watch.time_left(seen.model_copy(update={"bake_ends_at": None}), now=now) is None
