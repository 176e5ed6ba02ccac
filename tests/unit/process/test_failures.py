"""What Temporal is told of a failure: enough to know what happened, and never more than it shows."""

from temporalio.api.failure.v1 import Failure
from temporalio.converter import PayloadConverter

from hotswap.process.temporal import BriefFailures

SHOWN_BYTES = 4 * 1024
"""Temporal's limit for the failure of an activity that is tried again."""


def failed(depth: int) -> None:
    """Raises an error as deep and as long as a database driver's can be."""
    try:
        if depth == 0:
            raise OSError("connection refused " + "x" * 50_000)
        failed(depth - 1)
    except Exception as error:
        raise RuntimeError(f"level {depth}: could not execute " + "y" * 50_000) from error


def test_a_long_failure_still_says_what_happened() -> None:
    failure = Failure()
    try:
        failed(8)
    except RuntimeError as error:
        BriefFailures().to_failure(error, PayloadConverter.default, failure)
    assert failure.message.startswith("level 8: could not execute")
    assert failure.cause.message.startswith("level 7: could not execute")
    assert "in failed" in failure.stack_trace
    assert failure.ByteSize() < SHOWN_BYTES


def test_a_short_one_is_told_as_it_is() -> None:
    failure = Failure()
    try:
        raise ValueError("no such model")
    except ValueError as error:
        BriefFailures().to_failure(error, PayloadConverter.default, failure)
    assert failure.message == "no such model"
    assert "raise ValueError" in failure.stack_trace
