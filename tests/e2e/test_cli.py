"""What a pipeline does with the command line: deploy, wait, branch on the exit code, read the JSON."""

import json
from collections.abc import Callable

import pytest

from hotswap.cli.demo.models import TrainedModels
from tests.fixtures.stack import Stack, hotswap
from tests.fixtures.work import under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MODEL = "piped"
CANARY = ["--canary-percentage", "30", "--increment-step", "70", "--monitoring-duration", "PT3S"]


def test_deploy_waits_and_says_how_it_ended(
    stack: Stack, register: Callable[[str, str], None], trained: TrainedModels
) -> None:
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        register(MODEL, version)

    def deploy(version: str, *more: str, expect: int) -> list[str]:
        words = ["deploy", MODEL, "--version", version, *CANARY, "--wait", *more]
        return hotswap(*words, expect=expect, data=stack.data).stdout.splitlines()

    deploy("1.0.0", "--timeout", "PT2M", expect=0)
    with under_load(stack, MODEL, trained) as traffic:
        promoted = [json.loads(line) for line in deploy("2.0.0", "--json", expect=0)]
        assert promoted[-1]["status"] == "Active"
        assert {0, 30, 100} <= {seen["trafficPercentage"] for seen in promoted}

        identifier, *_, last = deploy("3.0.0", expect=3)
        assert "RolledBack" in last

        undone = hotswap("rollback", promoted[-1]["deploymentId"], "--wait", data=stack.data)
        assert "Active" in undone.stdout.splitlines()[-1]
    shown = json.loads(hotswap("get", identifier, "--json", data=stack.data).stdout)
    assert (shown["status"], shown["reason"]) == ("RolledBack", "ErrorRateIncreased")
    assert stack.api.model(MODEL).active_version == "1.0.0"
    parts = hotswap("env", data=stack.data).stdout
    assert all(name in parts for name in ("envoy", "worker", stack.url))
    assert not [each for each in traffic.answers if not each.succeeded]
