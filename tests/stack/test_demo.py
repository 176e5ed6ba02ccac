"""`hotswap demo` as a user runs it: its one line of JSON, and its exit status."""

import json

import pytest

from tests.fixtures.ports import free_base
from tests.fixtures.stack import BUSY, hotswap

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


def test_the_demo_does_the_main_job() -> None:
    summary = json.loads(
        hotswap("demo", "--port-base", str(free_base()), timeout=220, settings=BUSY).stdout.splitlines()[-1]
    )
    assert summary["promoted"] == "2.0.0"
    assert summary["rolledBack"] == "3.0.0"
    assert summary["workerKilled"] is True
    assert summary["failed"] == 0
    assert summary["requests"] >= 2_000
    assert summary["canaryRequests"] >= 100
    assert summary["candidateErrors"] >= 1
    assert summary["candidateErrorsFelt"] == 0
    assert summary["rollbackSeconds"] > 0
