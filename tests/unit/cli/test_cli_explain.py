"""What `explain` prints, for people and for programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.answers import deployment
from tests.fixtures.cli import Cli

ARM = {"requests": 200, "errors": 3, "errorRate": 0.015, "latencyP50Ms": 1.5, "latencyP95Ms": 3.0}


def happening(at: str, kind: str, what: str, **more: Any) -> dict[str, Any]:
    return {"at": f"2030-01-01T{at}Z", "kind": kind, "actor": "ann", "what": what, **more}


ANALYSIS = {
    "step": 1,
    "weight": 10,
    "begunAt": "2030-01-01T03:00:00Z",
    "judgedAt": "2030-01-01T03:00:12Z",
    "outcome": "Harm",
    "reason": "ErrorRateIncreased",
    "message": "errors are up",
    "candidate": {**ARM, "errors": 20, "errorRate": 0.1},
    "stable": ARM,
    "metrics": [
        {
            "name": "errors",
            "judge": "betaMixture",
            "outcome": "Harm",
            "message": "errors are up",
            "numbers": {"excess": 0.085},
            "threshold": 0.01,
            "logEvidence": 9.2,
        }
    ],
    "ledTo": "RollingBack: errors are up",
}
BACKTEST = {
    "at": "2030-01-01T02:59:59Z",
    "summary": "40 recorded requests were asked of the candidate: 9 refused, 0 failed, 0 answered otherwise",
    "findings": ["refused for features.[bold]card: 9 of 40, such as r-1, r-2"],
    "asked": 40,
    "found": 40,
    "callers": 3,
    "leftOut": 0,
    "refusals": {"hits": 9, "of": 40, "atLeast": 0.08},
    "refusedFields": [{"name": "features.card", "hits": 9, "of": 40, "examples": ["r-1", "r-2"]}],
    "failures": {"hits": 0, "of": 40, "atLeast": 0},
    "failureKinds": [],
    "disagreements": {"hits": 0, "of": 31, "atLeast": 0},
    "tolerance": None,
    "disagreeing": [],
    "classes": [],
    "slices": [],
    "collapse": None,
    "shift": None,
    "timings": [],
    "notes": [],
}
EXPLANATION = {
    "deploymentId": "dep-1",
    "model": "fraud",
    "version": "2.0.0",
    "previousVersion": "1.0.0",
    "environment": "Production",
    "status": "RolledBack",
    "reason": "ErrorRateIncreased",
    "message": "errors are [bold]up",
    "happenings": [
        happening("02:59:59", "word", "request rollout", why="[red]because"),
        happening("03:00:12", "analysis", "step 1 judged at 10%: Harm", why="errors are up", analysis=ANALYSIS),
    ],
}


def test_explain_tells_who_what_why_and_the_numbers(cli: Cli) -> None:
    cli.on("GET", "/api/v1/deployments/dep-1/explain", (200, EXPLANATION))
    result = cli.run("explain", "dep-1")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        "dep-1: fraud 2.0.0 to Production, before it 1.0.0",
        "is RolledBack (ErrorRateIncreased): errors are [bold]up",
    ]
    assert "  02:59:59  ann: request rollout: [red]because" in lines
    assert [line.strip() for line in lines[-5:]] == [
        "03:00:12  ann: step 1 judged at 10%: Harm",
        "seen from 03:00:00 to 03:00:12; errors are up",
        "candidate 20 of 200 failed (10.00%), p50 1.5 ms, p95 3.0 ms; "
        "stable 3 of 200 failed (1.50%), p50 1.5 ms, p95 3.0 ms",
        "errors (betaMixture) Harm: errors are up; threshold 0.01, log-evidence of harm 9.20, excess 0.085",
        "-> RollingBack: errors are up",
    ]


@pytest.mark.parametrize(
    ("concurrent", "line"),
    [
        (
            {"candidate": ARM, "stable": {**ARM, "errors": 0, "errorRate": 0}, "reason": "the stable is [bold]gone"},
            "asked again beside that: candidate 3 of 200 failed (1.50%), p50 1.5 ms, p95 3.0 ms; "
            "stable 0 of 200 failed (0.00%), p50 1.5 ms, p95 3.0 ms; the stable is [bold]gone",
        ),
        (
            {"candidate": {}, "stable": {}, "reason": "it must not be asked twice"},
            "asked again beside that: nothing; it must not be asked twice",
        ),
    ],
)
def test_at_100_percent_it_tells_what_both_were_asked_again(cli: Cli, concurrent: dict[str, Any], line: str) -> None:
    analysis = {**ANALYSIS, "weight": 100, "concurrent": concurrent}
    judged = happening("03:00:12", "analysis", "step 2 judged at 100%: Harm", analysis=analysis)
    cli.on("GET", "/api/v1/deployments/dep-1/explain", (200, {**EXPLANATION, "happenings": [judged]}))
    assert line in [each.strip() for each in cli.run("explain", "dep-1").stdout.splitlines()]


def test_a_backtest_is_told_with_what_it_has_found(cli: Cli) -> None:
    tried = happening("02:59:59", "backtest", "the candidate was asked", why=BACKTEST["summary"], backtest=BACKTEST)
    cli.on("GET", "/api/v1/deployments/dep-1/explain", (200, {**EXPLANATION, "happenings": [tried]}))
    lines = cli.run("explain", "dep-1").stdout.splitlines()
    assert lines[-2:] == [
        f"  02:59:59  ann: the candidate was asked: {BACKTEST['summary']}",
        "            refused for features.[bold]card: 9 of 40, such as r-1, r-2",
    ]
    cli.on("GET", "/api/v1/deployments/dep-2", (200, deployment("Failed", 0.0, backtest=BACKTEST)))
    shown = " ".join(cli.run("get", "dep-2").stdout.split())
    assert str(BACKTEST["summary"]) in shown
    assert "backtest: refused for features.[bold]card: 9 of 40, such as r-1, r-2" in shown


def test_explain_json_is_what_the_api_says(cli: Cli) -> None:
    cli.on("GET", "/api/v1/deployments/dep-1/explain", (200, EXPLANATION))
    told = json.loads(cli.run("explain", "dep-1", "--json").stdout)
    assert told["happenings"][1]["analysis"]["metrics"][0]["threshold"] == 0.01


REPLAY: dict[str, Any] = {
    "deploymentId": "dep-1",
    "recordedStatus": "Active",
    "end": "RolledBack",
    "message": "step 1 at 10%: rolled back after 3.0 s: errors",
    "steps": [
        {
            "step": 1,
            "weight": 10,
            "begunAt": "2030-01-01T03:00:00Z",
            "looks": 12,
            "recorded": "Pass",
            "end": "RolledBack",
            "afterSeconds": 3.0,
            "outcome": "Harm",
            "reason": "ErrorRateIncreased",
            "message": "rolled back after 3.0 s: errors",
        }
    ],
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.toml", "minimumRequests = 10\n[rollbackThresholds]\nerrorRateIncrease = 0.001\n"),
        ("p.json", '{"minimumRequests": 10, "rollbackThresholds": {"errorRateIncrease": 0.001}}'),
    ],
)
def test_replay_sends_the_policy_and_shows_where_it_ends(cli: Cli, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    cli.on("POST", "/api/v1/deployments/dep-1/replay", (200, REPLAY))
    result = cli.run("replay", "dep-1", "--with-policy", str(tmp_path / name))
    assert result.exit_code == 0
    assert json.loads(cli.asked[0].content) == {
        "strategyConfig": {"minimumRequests": 10, "rollbackThresholds": {"errorRateIncrease": 0.001}}
    }
    assert result.stdout.splitlines()[1].split(maxsplit=5) == [
        *("1", "10%", "03:00:00", "Pass", "RolledBack"),
        "rolled back after 3.0 s: errors",
    ]
    assert "under this policy: RolledBack; step 1 at 10%" in result.stdout
    told = cli.run("replay", "dep-1", "--with-policy", str(tmp_path / name), "--json")
    assert json.loads(told.stdout)["steps"][0]["afterSeconds"] == 3.0


@pytest.mark.parametrize(("thinned", "told"), [([], ""), ([1], "step 1"), ([1, 3], "step 1, 3")])
def test_replay_says_of_which_steps_not_every_look_is_left(cli: Cli, thinned: list[int], told: str) -> None:
    (step,) = REPLAY["steps"]
    steps = [step | {"step": number, "thinned": number in thinned} for number in (1, 2, 3)]
    cli.on("POST", "/api/v1/deployments/dep-1/replay", (200, REPLAY | {"steps": steps}))
    shown = cli.run("replay", "dep-1").stdout
    wanted = (
        [f"{told}: only one observation a minute is left, so its evidence may be weaker than it was"] if told else []
    )
    assert [line for line in shown.splitlines() if "one observation a minute" in line] == wanted


@pytest.mark.parametrize(("name", "text"), [("p.toml", "a ="), ("p.json", "[1]"), ("gone.toml", None)])
def test_a_policy_that_can_not_be_read_exits_2_and_asks_nobody(
    cli: Cli, tmp_path: Path, name: str, text: str | None
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert cli.run("replay", "dep-1", "--with-policy", str(tmp_path / name)).exit_code == 2
    assert not cli.asked
