"""What `hotswap infer` and `hotswap inference` ask and show."""

import json
from typing import Any

import pytest

from hotswap.cli import inference
from tests.fixtures.answers import error
from tests.fixtures.cli import Cli

PREDICTION = {"requestId": "r-1", "modelName": "fraud", "version": "1.0.0", "prediction": 1, "confidence": 0.9}
PENDING: dict[str, Any] = {
    "requestId": "r-1",
    "modelName": "fraud",
    "status": "Pending",
    "acceptedAt": "2026-11-25T12:00:00Z",
    "deadlineAt": "2026-11-25T12:10:00Z",
}
DONE = {**PENDING, "status": "Completed", "completedAt": "2026-11-25T12:00:01Z", "result": PREDICTION}
FAILED = {**PENDING, "status": "Failed", **error("INFERENCE_ERROR", "fraud 1.0.0 failed on this input")}


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "INTERVAL_SECONDS", 0.0)


def test_a_prediction_is_asked_for_with_what_leads_it(cli: Cli) -> None:
    cli.on("POST", "/api/v1/inference/fraud", (200, PREDICTION))
    shown = cli.run("infer", "fraud", "[0.1, 0.2]", "--environment", "Staging", "--entity", "ann", "--tester")
    assert shown.exit_code == 0
    assert {line.split()[0]: line.split()[1] for line in shown.stdout.splitlines()} == {
        "version": "1.0.0",
        "prediction": "1",
        "confidence": "0.9",
    }
    (asked,) = cli.asked
    assert json.loads(asked.content) == {"features": [0.1, 0.2]}
    assert asked.headers["x-hotswap-environment"] == "Staging"
    assert (asked.headers["x-entity-id"], asked.headers["x-hotswap-tester"]) == ("ann", "true")


def test_a_batch_is_shown_row_by_row(cli: Cli) -> None:
    rows = [{"prediction": "b", "confidence": 0.5}, {"prediction": "a", "confidence": None}]
    batch = {"requestId": "r-1", "modelName": "fraud", "version": "1.0.0", "predictions": rows}
    cli.on("POST", "/api/v1/inference/fraud/batch", (200, batch))
    shown = cli.run("infer", "fraud", "[[1], [2]]", "--batch").stdout.splitlines()
    assert [line.split() for line in shown[-2:]] == [["0", "b", "0.5"], ["1", "a", "-"]]


def test_a_later_answer_is_handed_in_under_an_id_of_its_own_and_printed(cli: Cli) -> None:
    cli.on("POST", "/api/v1/inference/fraud/async", (202, PENDING))
    assert cli.run("infer", "fraud", '{"a": 1}', "--async").stdout == "r-1\n"
    cli.run("infer", "fraud", "[[1]]", "--async", "--batch")
    assert [json.loads(each.content) for each in cli.asked] == [{"features": {"a": 1}}, {"instances": [[1]]}]
    first, second = (each.headers["x-request-id"] for each in cli.asked)
    assert first != second
    assert "idempotency-key" not in cli.asked[0].headers, "which would give it another id"


@pytest.mark.parametrize(
    ("end", "code", "says"),
    [(DONE, 0, "0.9"), (FAILED, 6, "failed on this input"), ({**PENDING, "status": "Timeout"}, 6, "Timeout")],
)
def test_it_is_awaited_and_the_exit_code_says_how_it_ended(cli: Cli, end: dict[str, Any], code: int, says: str) -> None:
    processing = {**PENDING, "status": "Processing"}
    cli.on("POST", "/api/v1/inference/fraud/async", (202, PENDING))
    cli.on("GET", "/api/v1/inference/r-1/status", (200, processing), (200, end))
    shown = cli.run("infer", "fraud", "[1]", "--async", "--wait")
    assert shown.exit_code == code
    assert says in shown.stdout


def test_a_time_out_ends_the_waiting_and_not_the_request(cli: Cli) -> None:
    cli.on("GET", "/api/v1/inference/r-1/status", (200, PENDING))
    shown = cli.run("inference", "r-1", "--wait", "--timeout", "0.01", "--json")
    assert shown.exit_code == 124
    assert json.loads(shown.stdout)["status"] == "Pending"
    assert cli.run("inference", "r-1").exit_code == 0, "without --wait it is only looked at"


@pytest.mark.parametrize(
    "words",
    [
        ["[1"],
        ["@/not/there"],
        ['{"a": 1}', "--batch"],
        ["[1]", "--wait"],
        ["[1]", "--async", "--timeout", "5"],
    ],
)
def test_what_makes_no_sense_is_not_asked(cli: Cli, words: list[str]) -> None:
    assert cli.run("infer", "fraud", *words).exit_code == 2
    assert cli.asked == []
