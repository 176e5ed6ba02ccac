"""`hotswap push` and `hotswap artifacts gc` against canned answers."""

import json
from pathlib import Path

import pytest

from tests.fixtures.answers import error
from tests.fixtures.cli import Cli

UPLOAD = {
    "uploadId": "upl-1",
    "model": "fraud",
    "artifactPath": "s3://ml-models/uploads/fraud/0f/model.tar",
    "checksum": "ab" * 32,
    "sizeBytes": 10_240,
    "completed": True,
    "parts": [],
}
BEGIN = ("POST", "/api/v1/models/fraud/uploads")
VERSION = {
    "versionId": "ver-1",
    "modelId": "model-1",
    "model": "fraud",
    "version": "2.0.0",
    "framework": "XGBoost",
    "artifactPath": UPLOAD["artifactPath"],
    "checksum": "ab" * 32,
    "artifactSizeBytes": 10_240,
    "inputSchema": {},
    "outputSchema": {},
    "trainingMetadata": {},
    "performanceBaseline": {},
    "status": "Registered",
    "approvedBy": None,
    "approvedAt": None,
    "isDeprecated": False,
    "createdBy": "ann",
    "createdAt": "2030-01-01T00:00:00Z",
}
ITEM = {"artifactPath": "s3://ml-models/uploads/a", "sizeBytes": 7, "modifiedAt": "2030-01-01T00:00:00Z"}
GARBAGE = {"applied": False, "prefix": "uploads/", "items": [ITEM], "totalBytes": 7, "more": False}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").write_bytes(b"graph")
    return tmp_path / "model"


def test_a_directory_is_packed_sent_and_leaves_nothing(cli: Cli, model: Path, state: Path) -> None:
    cli.on(*BEGIN, (200, UPLOAD))
    said = cli.run("push", str(model), "fraud")
    assert said.stdout == f"{UPLOAD['artifactPath']}\n"
    begun = json.loads(cli.asked[0].content)
    assert (begun["sizeBytes"], begun["fileName"]) == (10_240, "model.tar")
    cli.run("push", str(model / "model.onnx"), "fraud")
    assert json.loads(cli.asked[1].content)["sha256"] == begun["sha256"], "the same file, the same archive"
    assert list((state / "hotswap" / "push").iterdir()) == []


def test_with_a_version_it_is_registered_by_its_checksum(cli: Cli, model: Path) -> None:
    cli.on(*BEGIN, (200, UPLOAD))
    cli.on("POST", "/api/v1/models", (201, VERSION))
    assert "fraud" in cli.run("push", str(model), "fraud", "2.0.0", "--framework", "XGBoost").stdout
    asked = json.loads(cli.asked[1].content)
    assert (asked["artifactPath"], asked["checksum"]) == (UPLOAD["artifactPath"], "ab" * 32)
    assert (asked["version"], asked["framework"]) == ("2.0.0", "XGBoost")


def test_what_can_not_be_packed_or_sent_is_told(cli: Cli, model: Path) -> None:
    cli.on(*BEGIN, (400, error("VALIDATION_ERROR", "sizeBytes: 3 bytes are more than the 2 allowed")))
    refused = cli.run("push", str(model), "fraud")
    assert (refused.exit_code, "more than the 2 allowed" in refused.stderr) == (1, True)
    (model / "link.onnx").symlink_to("/etc/passwd")
    refused = cli.run("push", str(model), "fraud")
    assert refused.exit_code == 1
    assert "link.onnx is a link" in refused.stderr


def test_garbage_is_only_told_unless_it_is_to_be_removed(cli: Cli) -> None:
    cli.on("POST", "/api/v1/artifacts/gc", (200, GARBAGE), (200, {**GARBAGE, "applied": True}))
    told = cli.run("artifacts", "gc")
    assert "s3://ml-models/uploads/a" in told.stdout
    assert "1 artifacts of 7 bytes would go; --apply removes them" in told.stderr
    assert json.loads(cli.asked[0].content) == {"apply": False, "prefix": "uploads/"}
    assert "7 bytes removed" in cli.run("artifacts", "gc", "--apply", "--prefix", "").stderr
    assert json.loads(cli.asked[1].content) == {"apply": True, "prefix": ""}


def test_all_of_the_garbage_is_removed_however_many_calls_it_takes(cli: Cli) -> None:
    done = {**GARBAGE, "applied": True}
    cli.on("POST", "/api/v1/artifacts/gc", (200, {**done, "more": True}), (200, done))
    cli.run("artifacts", "gc", "--apply")
    assert len(cli.asked) == 2
