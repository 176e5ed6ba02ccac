"""What a process writes to its log: one JSON object a line, with the keys that people search by."""

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hotswap.domain.vocabulary import Role
from hotswap.telemetry import logs
from hotswap.telemetry.logs import JsonFormatter

CREATED = datetime(2026, 11, 29, 17, 28, 48, 701_200, UTC).timestamp()


def record(message: object, *arguments: object, **extra: Any) -> logging.LogRecord:
    logger = logging.getLogger("hotswap.tests")
    made = logger.makeRecord(logger.name, logging.WARNING, "file", 1, message, arguments, None, extra=extra)
    made.created = CREATED
    return made


def written(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter("api").format(made)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


PLAIN = {
    "time": "2026-11-29T17:28:48.701+00:00",
    "level": "warning",
    "part": "api",
    "logger": "hotswap.tests",
    "message": "two of ü",
}


def test_a_line_has_these_keys_and_no_other() -> None:
    assert written(record("%s of %s", "two", "ü")) == PLAIN


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Path("/a"), "/a"),
        (ValueError("no"), "no"),
        (Role.ADMIN, "Admin"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
        ({"a": [1, None]}, {"a": [1, None]}),
        ("a\nb\x00", "a\nb\x00"),
        (float("nan"), None),
        (object, "<class 'object'>"),
    ],
)
def test_what_belongs_to_it_stands_beside(value: object, expected: object) -> None:
    assert written(record("%s of %s", "two", "ü", beside=value)) == {**PLAIN, "beside": expected}


def test_what_only_terminals_show_is_left_out() -> None:
    assert written(record("%s of %s", "two", "ü", color_message="two", taskName="Task-1")) == PLAIN


def test_the_request_in_hand_is_named() -> None:
    with logs.traced("4bf92f35"):
        assert written(record("%s of %s", "two", "ü")) == {**PLAIN, "trace_id": "4bf92f35"}


def _fails() -> None:
    raise ValueError("a fault")


@pytest.mark.parametrize("handed_on", [False, True])
def test_a_failure_is_told_with_its_way(handed_on: bool) -> None:
    made = record("%s of %s", "two", "ü")
    try:
        _fails()
    except ValueError:
        made.exc_info = sys.exc_info()
    assert made.exc_info is not None
    if handed_on:  # as by a queue, where the text alone is left
        made.exc_text, made.exc_info = logging.Formatter().formatException(made.exc_info), None
    found = written(made)
    told = found.pop("exception")
    assert found == PLAIN
    assert "in _fails" in told
    assert told.endswith("ValueError: a fault")


def test_where_it_was_said_is_told_where_it_is_asked_for() -> None:
    made = record("%s of %s", "two", "ü")
    made.stack_info = "Stack (most recent call last): ..."
    assert written(made) == {**PLAIN, "stack": "Stack (most recent call last): ..."}


def test_a_process_writes_it_to_stderr(capfd: pytest.CaptureFixture[str], restored: Callable[[], None]) -> None:
    logs.configure_logging("worker")
    logging.getLogger("a.b").info("said", extra={"to": "all"})
    restored()
    (line,) = capfd.readouterr().err.splitlines()
    found = json.loads(line)
    assert {name: found[name] for name in ("part", "logger", "message", "to")} == {
        "part": "worker",
        "logger": "a.b",
        "message": "said",
        "to": "all",
    }


@pytest.fixture
def restored() -> Callable[[], None]:
    """Gives the tests' own log back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def restore() -> None:
        logging.captureWarnings(capture=False)
        root.handlers, root.level = handlers, level

    return restore
