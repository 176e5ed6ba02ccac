"""The commands: help, exit codes, what goes to stdout and what to stderr. A stand-in for the API answers by path."""

import contextlib
import json
import os
import pkgutil
import pty
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

import hotswap.cli
from hotswap.cli import console
from hotswap.cli.app import app
from hotswap.client import HotSwap
from tests.fixtures.answers import accepted, answer, deployment, dry_run, error
from tests.fixtures.cli import VERBS, Cli

COMMANDS = typer.main.get_group(app).commands
GROUPS = {name: command for name, command in COMMANDS.items() if isinstance(command, TyperGroup)}
LEAVES = [
    *(name for name in COMMANDS if name not in GROUPS),
    *(f"{group} {name}" for group, command in GROUPS.items() for name in command.commands),
]
FOR_PROGRAMS_ALREADY = {"db sql": "its answer is SQL"}


def test_help_names_every_command_with_examples(cli: Cli) -> None:
    result = cli.run("--help")
    assert result.exit_code == 0
    assert all(command in result.stdout for command in COMMANDS)
    assert "hotswap deploy fraud-detection --version 2.0.0" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", [*LEAVES, *GROUPS])
def test_every_command_explains_itself_with_an_example(cli: Cli, command: str) -> None:
    result = cli.run(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    assert f"hotswap {command}" in result.stdout.partition("Example")[2]


@pytest.mark.slow
@pytest.mark.parametrize("leaf", LEAVES)
def test_every_command_can_be_typed_without_its_options(leaf: str) -> None:
    """Typer has an option's parser read its default too, which is no text."""
    group, _, name = leaf.rpartition(" ")
    command = GROUPS[group].commands[name] if group else COMMANDS[name]
    context = typer.Context(command)
    for each in command.params:
        if (default := each.get_default(context)) is not None:
            assert each.process_value(context, default) == default, each.name


@pytest.mark.parametrize("command", [leaf for leaf in LEAVES if leaf not in FOR_PROGRAMS_ALREADY])
def test_every_command_can_answer_a_program(cli: Cli, command: str) -> None:
    assert "--json" in cli.run(*command.split(), "--help").stdout


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["deploy"],
        ["deploy", "fraud", "--environment", "production"],
        ["deploy", "fraud", "--config", "{not json"],
        ["deploy", "fraud", "--config", "[1]"],
        ["deploy", "fraud", "--config", "@/nowhere/there.json"],
        ["deploy", "fraud", "--replicas", "0"],
        ["deploy", "fraud", "--wait", "--timeout", "soon"],
        ["deploy", "fraud", "--wait", "--timeout", "0"],
        ["deploy", "fraud", "--wait", "--timeout", "nan"],
        ["deploy", "fraud", "--wait", "--timeout", "10:00"],
        ["deploy", "fraud", "--timeout", "PT5M"],
        ["deploy", "fraud", "--dry-run", "--wait"],
        ["abort", "dep-1", "--timeout", "60"],
        ["deploy", "fraud", "--on-conflict", "jump"],
        ["deploy", "fraud", "--start-at", "tomorrow"],
        ["deploy", "fraud", "--start-at", "2026-12-27T00:00:00"],
        ["freeze", "Production", "--until", "2026-12-27T00:00:00", "--reason", "r"],
        ["freeze", "Production", "--until", "P", "--reason", "r"],
        ["freeze", "Production", "--until", "PT1H"],
        ["freeze", "production", "--until", "PT1H", "--reason", "r"],
        ["watch"],
        ["models", "register", "fraud", "1.0.0"],
    ],
)
def test_what_is_not_understood_exits_2_and_asks_nobody(cli: Cli, words: list[str]) -> None:
    result = cli.run(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert cli.asked == []


def test_deploy_prints_the_id_and_only_that_on_stdout(cli: Cli, tmp_path: Path) -> None:
    cli.on("POST", "/api/v1/deployments", (202, accepted()))
    config = tmp_path / "canary.json"
    config.write_text('{"minimumRequests": 20, "canaryPercentage": 50}')
    words = ["deploy", "fraud", "--config", f"@{config}", "--canary-percentage", "5", "--replicas", "2"]
    result = cli.run(*words, "--monitoring-duration", "PT30S")
    assert (result.exit_code, result.stdout) == (0, "dep-1\n")
    assert "hotswap watch dep-1" in result.stderr
    body = json.loads(cli.asked[0].content)
    assert body["strategyConfig"] == {"minimumRequests": 20, "canaryPercentage": 5, "monitoringDuration": "PT30S"}
    assert body["resources"] == {"replicas": 2}


def test_a_dry_run_shows_what_would_be_and_what_differs(cli: Cli) -> None:
    cli.on("POST", "/api/v1/deployments", (200, dry_run()))
    result = cli.run("deploy", "fraud", "--version", "2.0.0", "--dry-run", "--canary-percentage", "10")
    assert result.exit_code == 0
    assert (cli.asked[0].url.params["dryRun"], cli.asked[0].headers.get("idempotency-key")) == ("true", None)
    assert json.loads(cli.asked[0].content)["strategyConfig"] == {"canaryPercentage": 10}
    told = " ".join(result.stdout.split())
    for said in (
        "fraud 2.0.0 to Production, by Canary would be accepted",
        "serves now 1.0.0, by dep-0",
        "approval needed",
        "takes 0:10:00 to 0:30:00",
        "gpus 2 beside 1.5 of the stable: 3.5 at the peak",
        "1 0% 0:00:00 not judged for an approval; after 0:20:00 it goes back",
        "2 100% 0:10:00 judged",
        "version 1.0.0 2.0.0",
        'inputSchema.properties.age - {"type": "integer"}',
    ):
        assert said in told


def test_a_change_of_the_contract_is_shown_and_accepted(cli: Cli) -> None:
    change = {"field": "features.age", "message": "the stable takes null, the candidate only numbers", "narrows": True}
    cli.on("POST", "/api/v1/deployments", (200, dry_run(contract=[change])))
    shown = cli.run("deploy", "fraud", "--dry-run")
    assert "narrower features.age the stable takes null" in " ".join(shown.stdout.split())
    assert "acceptContractChange" not in json.loads(cli.asked[0].content)
    cli.on("POST", "/api/v1/deployments", (202, accepted()))
    cli.run("deploy", "fraud", "--accept-contract-change")
    assert json.loads(cli.asked[1].content)["acceptContractChange"] is True


def test_how_a_model_does_has_what_was_refused_as_a_column(cli: Cli) -> None:
    latency = {"average": None, "p50": 2.5, "p95": 9.0, "p99": None}
    quality = dict.fromkeys(("precision", "recall", "f1", "mae", "rmse")) | {"outcomes": 0}
    clients = {"total": 1_204, "failed": 6, "refused": 31, "fellBack": 4, "latencyMs": latency}
    seen = {
        "modelId": "mod-1",
        "model": "fraud",
        "environment": "Production",
        "version": None,
        "begin": "2026-11-29T09:00:00Z",
        "end": "2026-11-29T10:00:00Z",
        "requestsPerSecond": 0.3,
        "total": 1_200,
        "succeeded": 1_165,
        "failed": 5,
        "refused": 30,
        "successRate": 0.9957,
        "latencyMs": latency,
        "confidence": None,
        "prediction": None,
        "clients": clients,
        "accuracy": None,
        "quality": quality,
        "drift": None,
    }
    cli.on("GET", "/api/v1/models/fraud/metrics", (200, seen))
    result = cli.run("metrics", "fraud")
    assert result.exit_code == 0, result.stderr
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert lines[-3:] == [
        "SEEN BY REQUESTS FAILED REFUSED FELL BACK LATENCY",
        "replicas 1200 5 30 - p50 2.50 ms, p95 9.00 ms",
        "clients 1204 6 31 4 p50 2.50 ms, p95 9.00 ms",
    ]
    assert not any(line.startswith("refused") for line in lines), "it is no row any more"


def test_an_emergency_says_why_and_is_seen_in_the_list(cli: Cli) -> None:
    cli.on("POST", "/api/v1/deployments", (202, accepted()))
    result = cli.run("deploy", "fraud", "--emergency", "--reason", "checkout is down")
    assert result.exit_code == 0, result.stderr
    body = json.loads(cli.asked[0].content)
    assert (body["emergency"], body["reason"]) == (True, "checkout is down")
    for words in (["--emergency"], ["--reason", "no emergency"]):
        assert cli.run("deploy", "fraud", *words).exit_code == 2
    assert len(cli.asked) == 1, "nothing was asked for without both"


def test_a_dry_run_of_what_would_be_refused_exits_with_1(cli: Cli) -> None:
    refusal = {"code": "POLICY_NOT_MET", "message": "Production takes a version that is Active in Staging"}
    refused = dry_run(wouldBeAccepted=False, refusals=[refusal], serving=None, differences=[])
    cli.on("POST", "/api/v1/deployments", (200, refused))
    result = cli.run("deploy", "fraud", "--dry-run")
    assert result.exit_code == 1
    assert "would be refused" in result.stdout
    assert "POLICY_NOT_MET: Production takes a version that is Active in Staging" in result.stdout
    assert "nothing: it is the first" in result.stdout
    as_json = cli.run("deploy", "fraud", "--dry-run", "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["refusals"] == [refusal]


@pytest.mark.parametrize("verb", VERBS)
def test_a_word_is_passed_on_with_its_reason(cli: Cli, verb: str) -> None:
    cli.on("POST", f"/api/v1/deployments/dep-1/{verb}", (200, answer()))
    result = cli.run(verb, "dep-1", "--reason", "checked")
    assert (result.exit_code, result.stdout) == (0, "dep-1 Progressing: so be it\n")
    assert json.loads(cli.asked[0].content) == {"reason": "checked"}
    assert json.loads(cli.run(verb, "dep-1", "--json").stdout) == answer()


def test_scale_passes_the_replicas_on(cli: Cli) -> None:
    cli.on("POST", "/api/v1/deployments/dep-1/scale", (200, answer()))
    assert cli.run("scale", "dep-1", "4", "--reason", "load").exit_code == 0
    assert json.loads(cli.asked[0].content) == {"replicas": 4, "reason": "load"}
    assert cli.run("scale", "dep-1", "0").exit_code == 2


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("malignant", "malignant"),
        ("1", 1),
        ("1.50", 1.5),
        ("-12", -12),
        ("true", "true"),
        ("NaN", "NaN"),
        ("007", "007"),
    ],
)
def test_an_outcome_is_passed_on_as_the_label_or_number_it_is(cli: Cli, label: str, said: str | float) -> None:
    cli.on("POST", "/api/v1/inference/r-1/outcome", (202, {"accepted": 1}))
    result = cli.run("outcome", "r-1", "--observed-at", "2026-12-27T06:00:00Z", "--", label)
    assert (result.exit_code, result.stdout) == (0, f"r-1: {label} is taken\n")
    assert json.loads(cli.asked[0].content) == {"outcome": said, "observedAt": "2026-12-27T06:00:00Z"}
    assert json.loads(cli.run("outcome", "r-1", "spam", "--json").stdout) == {"accepted": 1}


def test_goto_passes_the_step_on(cli: Cli) -> None:
    cli.on("POST", "/api/v1/deployments/dep-1/goto", (200, answer()))
    assert cli.run("goto", "dep-1", "2").exit_code == 0
    assert json.loads(cli.asked[0].content) == {"step": 2}
    assert cli.run("goto", "dep-1", "0").exit_code == 2


def test_a_refusal_is_told_on_stderr_with_field_and_next_step(cli: Cli) -> None:
    refused = error("VALIDATION_ERROR", "two fields are wrong", ("strategy", "BlueGreen is not there yet"))
    cli.on("POST", "/api/v1/deployments", (400, refused))
    result = cli.run("deploy", "fraud", "--strategy", "BlueGreen")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "two fields are wrong" in result.stderr
    assert "strategy: BlueGreen is not there yet" in result.stderr
    cli.on("GET", "/api/v1/deployments/dep-9", (404, error("DEPLOYMENT_NOT_FOUND", "there is no deployment dep-9")))
    assert "hotswap get" in cli.run("get", "dep-9").stderr
    cli.on("GET", "/api/v1/models", (401, error("UNAUTHORIZED", "the token is not valid")))
    assert "hotswap env --shell" in cli.run("models", "list").stderr


def test_markup_in_what_others_wrote_is_only_text(cli: Cli) -> None:
    hostile = deployment("Failed", 0.0, message="[red]not markup[/] [link=http://evil]x[/link]")
    cli.on("GET", "/api/v1/deployments/dep-1", (200, hostile))
    result = cli.run("get", "dep-1")
    assert "[red]not markup[/] [link=http://evil]x[/link]" in result.stdout
    assert "\x1b" not in result.stdout


def test_without_a_stack_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOTSWAP_URL", raising=False)
    monkeypatch.setenv("HOTSWAP_DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(app, ["get"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "hotswap up" in result.stderr


def test_the_stacks_token_is_not_sent_to_another_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "token").write_text("the-stacks-own")
    monkeypatch.setenv("HOTSWAP_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOTSWAP_URL", "http://elsewhere.test")
    monkeypatch.delenv("HOTSWAP_TOKEN", raising=False)
    monkeypatch.setenv("HOTSWAP_REASON", "CHG-1")
    asked: list[httpx.Request] = []

    def empty(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"items": [], "total": 0, "limit": 50, "offset": 0})

    transport = httpx.MockTransport(empty)
    monkeypatch.setattr(console, "HotSwap", partial(HotSwap, transport=transport))
    with console.connect() as hotswap:
        hotswap.models.list()
    assert "authorization" not in asked[0].headers
    assert asked[0].headers["x-hotswap-reason"] == "CHG-1"


@pytest.mark.parametrize(
    ("option", "said"),
    [([], {}), (["--idempotent"], {"idempotent": True}), (["--not-idempotent"], {"idempotent": False})],
)
def test_who_says_nothing_of_asking_twice_leaves_the_model_as_it_is(
    cli: Cli, option: list[str], said: dict[str, bool]
) -> None:
    cli.on("POST", "/api/v1/models", (400, error("VALIDATION_ERROR", "enough seen")))
    cli.run("models", "register", "fraud", "1.0.0", "--artifact", "s3://ml-models/fraud/1.tar.gz", *option)
    body = json.loads(cli.asked[0].content)
    assert {name: value for name, value in body.items() if name == "idempotent"} == said


def test_models_are_shown_as_a_table_or_as_json(cli: Cli) -> None:
    model: dict[str, Any] = {
        "modelId": "model-1",
        "name": "fraud",
        "description": None,
        "framework": "ONNX",
        "type": "Other",
        "owner": "dora",
        "team": None,
        "tags": [],
        "idempotent": True,
        "recordFeatures": "sample",
        "recordSampleRate": 0.5,
        "dropFields": ["ssn"],
        "activeVersion": "2.0.0",
        "activeVersions": {"Production": "2.0.0"},
        "aliases": {"champion": "2.0.0"},
        "isArchived": False,
        "createdAt": "2030-01-01T00:00:00Z",
        "updatedAt": "2030-01-01T00:00:00Z",
    }
    cli.on("GET", "/api/v1/models", (200, {"items": [model], "total": 1, "limit": 50, "offset": 0}))
    shown = cli.run("models", "list").stdout
    assert "Production 2.0.0" in shown
    assert len(shown.splitlines()) == 2  # a row is a line, for grep and awk
    assert json.loads(cli.run("models", "list", "--json").stdout)["items"] == [model]


def test_no_command_takes_the_place_of_a_module() -> None:
    modules = [module.name for module in pkgutil.iter_modules(hotswap.cli.__path__) if module.name != "__main__"]
    found = {name: getattr(hotswap.cli, name) for name in modules if hasattr(hotswap.cli, name)}
    assert "stack" in found
    assert found == {name: sys.modules[f"hotswap.cli.{name}"] for name in found}


def on_a_terminal(*words: str, **environment: str) -> bytes:
    """What a command sends to a terminal."""
    screen, terminal = pty.openpty()
    command = [sys.executable, "-m", "hotswap.cli", *words]
    given = {"PATH": os.environ["PATH"], "TERM": "xterm-256color", **environment}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=given)
    os.close(terminal)
    sent = bytearray()
    with contextlib.suppress(OSError):  # how the end of a terminal reads
        while piece := os.read(screen, 65_536):
            sent += piece
    os.close(screen)
    process.wait()
    return bytes(sent)


@pytest.mark.slow
def test_colour_is_for_terminals_and_not_where_it_is_not_wanted(tmp_path: Path) -> None:
    words = ("get", "dep-1")  # fails: no stack runs there
    color = re.compile(rb"\x1b\[[0-9;]*[39][0-7]")
    assert color.search(on_a_terminal(*words, HOTSWAP_DATA_DIR=str(tmp_path)))
    assert not color.search(on_a_terminal(*words, HOTSWAP_DATA_DIR=str(tmp_path), NO_COLOR="1"))


def test_what_the_api_would_refuse_is_told_in_its_words_and_not_sent(cli: Cli) -> None:
    result = cli.run("deploy", "fraud", "--gpus", "1.5")
    assert (result.exit_code, cli.asked) == (1, [])
    assert (
        result.stderr == "hotswap: resources.gpus: must be a whole number, or a fraction below 1, which shares a GPU\n"
    )
