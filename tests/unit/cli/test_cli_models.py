"""What `hotswap models history`, `deprecate`, `archive` and `restore` ask and show."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.cli import Cli

SERVED: dict[str, Any] = {
    "environment": "Production",
    "version": "1.0.0",
    "deploymentId": "dep-1",
    "kind": "rollout",
    "initiatedBy": "ann",
    "approvedBy": ["bob"],
    "since": "2026-11-26T12:00:00Z",
    "until": None,
}
MODEL: dict[str, Any] = {
    "modelId": "model-1",
    "name": "fraud",
    "description": None,
    "framework": "ONNX",
    "type": "Other",
    "owner": "ann",
    "team": None,
    "tags": [],
    "idempotent": True,
    "activeVersion": None,
    "activeVersions": {},
    "isArchived": True,
    "createdAt": "2026-11-26T12:00:00Z",
    "updatedAt": "2026-11-26T12:00:00Z",
}


def test_who_put_what_there_is_listed_as_of_any_time(cli: Cli) -> None:
    page = {"items": [SERVED], "total": 1, "limit": 50, "offset": 0}
    cli.on("GET", "/api/v1/models/fraud/history", (200, page))
    shown = cli.run("models", "history", "fraud", "--at", "2026-11-26T13:00:00Z").stdout
    assert cli.asked[0].url.params["at"] == "2026-11-26T13:00:00+00:00"
    assert shown.splitlines()[1].split() == [
        *("1.0.0", "Production", "2026-11-26", "12:00:00", "UTC", "now", "ann", "bob", "rollout", "dep-1"),
    ]
    assert cli.run("models", "history", "fraud", "--at", "2026-11-26T13:00:00").exit_code == 2


def test_a_model_goes_out_of_use_and_comes_back(cli: Cli) -> None:
    cli.on("DELETE", "/api/v1/models/fraud", (200, MODEL))
    assert "fraud is archived" in cli.run("models", "archive", "fraud", "--reason", "replaced").stdout
    assert json.loads(cli.asked[0].content) == {"reason": "replaced"}
    cli.on("POST", "/api/v1/models/fraud/restore", (200, {**MODEL, "isArchived": False}))
    assert "can be used again" in cli.run("models", "restore", "fraud").stdout


def test_an_alias_is_given_and_taken(cli: Cli) -> None:
    cli.on("PUT", "/api/v1/models/fraud/aliases/champion", (200, {**MODEL, "aliases": {"champion": "2.0.0"}}))
    assert cli.run("models", "alias", "fraud", "champion", "2.0.0").stdout == "fraud 2.0.0 is called champion\n"
    assert json.loads(cli.asked[0].content) == {"version": "2.0.0"}
    cli.on("DELETE", "/api/v1/models/fraud/aliases/champion", (200, MODEL))
    assert "no version of fraud" in cli.run("models", "alias", "fraud", "champion", "--delete").stdout
    for wrong in ([], ["2.0.0", "--delete"]):
        assert cli.run("models", "alias", "fraud", "champion", *wrong).exit_code == 2


def test_only_what_is_given_is_changed(cli: Cli) -> None:
    cli.on("PATCH", "/api/v1/models/fraud", (200, MODEL))
    assert cli.run("models", "change", "fraud", "--tag", "a", "--tag", "b").stdout == "fraud has another tags\n"
    assert json.loads(cli.asked[0].content) == {"tags": ["a", "b"]}
    assert cli.run("models", "change", "fraud").exit_code == 2


def test_what_records_keep_is_changed_and_shown(cli: Cli) -> None:
    cli.on("PATCH", "/api/v1/models/fraud", (200, MODEL))
    wanted = ["--record-features", "sample", "--record-sample-rate", "0.2", "--drop-field", "ssn"]
    assert cli.run("models", "change", "fraud", *wanted).exit_code == 0
    assert cli.run("models", "change", "fraud", "--drop-no-fields").exit_code == 0
    assert [json.loads(each.content) for each in cli.asked] == [
        {"recordFeatures": "sample", "recordSampleRate": 0.2, "dropFields": ["ssn"]},
        {"dropFields": []},
    ]
    assert cli.run("models", "change", "fraud", "--drop-no-fields", "--drop-field", "a").exit_code == 2
    cli.on("GET", "/api/v1/models/fraud/versions", (200, {"items": [], "total": 0, "limit": 200, "offset": 0}))
    for said, told in (
        ({}, "all"),
        ({"recordFeatures": "none"}, "none"),
        (
            {"recordFeatures": "sample", "recordSampleRate": 0.2, "dropFields": ["ssn", "name"]},
            "a sample, 0.2 of the requests, without ssn, name",
        ),
    ):
        cli.on("GET", "/api/v1/models/fraud", (200, {**MODEL, **said}))
        lines = cli.run("models", "show", "fraud").stdout.splitlines()
        assert [line.split("features of", 1)[1].strip() for line in lines if "features of" in line] == [told]


def test_a_card_is_written_from_a_file_and_shown_as_it_is(cli: Cli, tmp_path: Path) -> None:
    text = "# Fraud\n\n[not] markup\n"
    file = tmp_path / "card.md"
    file.write_text(text)
    said = {"model": "fraud", "version": "2.0.0", "text": text}
    cli.on("PUT", "/api/v1/models/fraud/versions/2.0.0/card", (200, said))
    assert cli.run("models", "card", "fraud", "2.0.0", "--write", str(file)).stdout == text
    assert json.loads(cli.asked[0].content) == {"text": text}
    cli.on("GET", "/api/v1/models/fraud/versions/2.0.0/card", (200, {**said, "text": None}))
    assert "has no card yet" in cli.run("models", "card", "fraud", "2.0.0").stderr


def test_deprecating_wants_a_reason(cli: Cli) -> None:
    assert cli.run("models", "deprecate", "fraud", "1.0.0").exit_code == 2
    assert cli.asked == []


def test_the_lineage_reads_from_the_first_ancestor_to_the_last_descendant(cli: Cli) -> None:
    def relative(version: str, distance: int, *parents: str) -> dict[str, Any]:
        return {
            "model": "fraud",
            "version": version,
            "versionId": f"ver-{version[0]}",
            "distance": distance,
            "derivedFrom": list(parents),
            "trainingMetadata": {},
        }

    family = {
        "model": "fraud",
        "version": "3.0.0",
        "versionId": "ver-3",
        "ancestors": [relative("2.0.0", 1, "ver-1"), relative("1.0.0", 2)],
        "descendants": [relative("4.0.0", 1, "ver-3", "ver-9")],
    }
    cli.on("GET", "/api/v1/models/fraud/versions/3.0.0/lineage", (200, family))
    shown = [line.split() for line in cli.run("models", "lineage", "fraud", "3.0.0").stdout.splitlines()[1:]]
    assert shown == [
        ["2", "back", "fraud", "1.0.0", "-", "ver-1"],
        ["1", "back", "fraud", "2.0.0", "fraud", "1.0.0", "ver-2"],
        ["1", "on", "fraud", "4.0.0", "fraud", "3.0.0,", "ver-9", "ver-4"],
    ]


VALIDATION = {
    "model": "fraud",
    "version": "2.0.0",
    "deploymentId": "dep-1",
    "at": "2030-01-01T00:00:00Z",
    "report": {
        "passed": True,
        "checks": [
            {"name": "latency", "outcome": "Failed", "passed": False, "overridden": True, "detail": "30 ms"},
            {"name": "accuracy", "outcome": "NotApplicable", "passed": None, "detail": "no labelled.json"},
        ],
    },
    "override": {"checks": ["latency"], "by": "root", "reason": "larger images"},
}


def test_a_report_shows_each_check_and_what_was_let_pass(cli: Cli) -> None:
    cli.on("GET", "/api/v1/models/fraud/versions/2.0.0/validation", (200, VALIDATION))
    said = cli.run("models", "validation", "fraud", "2.0.0").stdout
    assert "Failed (overridden)" in said
    assert "NotApplicable" in said
    assert "let pass by root: latency; larger images" in said


def test_an_override_wants_a_reason_and_is_taken_back(cli: Cli) -> None:
    path = "/api/v1/models/fraud/versions/2.0.0/validation/override"
    cli.on("POST", path, (200, VALIDATION))
    cli.on("DELETE", path, (200, {**VALIDATION, "override": None}))
    assert cli.run("models", "override", "fraud", "2.0.0").exit_code == 2
    assert cli.run("models", "override", "fraud", "2.0.0", "--withdraw", "--check", "latency").exit_code == 2
    assert cli.asked == []
    cli.run("models", "override", "fraud", "2.0.0", "--reason", "larger images", "--check", "latency")
    assert json.loads(cli.asked[0].content) == {"reason": "larger images", "checks": ["latency"]}
    assert "let pass" not in cli.run("models", "override", "fraud", "2.0.0", "--withdraw").stdout


@pytest.mark.parametrize("field", ["name", "version", "artifact_path", "artifactPath", "framework"])
def test_a_file_of_further_fields_says_nothing_that_the_command_does(cli: Cli, tmp_path: Path, field: str) -> None:
    file = tmp_path / "more.json"
    file.write_text(json.dumps({field: "9.9.9"}))
    told = cli.run("models", "register", "fraud", "1.0.0", "--artifact", "s3://b/k.tar", "--metadata", str(file))
    assert told.exit_code == 2
    assert "which the command sets itself" in " ".join(told.output.replace("│", " ").split())
    assert cli.asked == []
