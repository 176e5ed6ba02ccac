"""A person steers a canary on the real stack: by command, by call and by Temporal's own command line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hotswap.cli.demo.models import TrainedModels
from hotswap.client import ApiError
from hotswap.domain.lifecycle import DeploymentStatus as S
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.stack import Stack, hotswap, worker_to_oneself
from tests.fixtures.work import ended, reaches, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

BAKE = {"monitoringDuration": "PT2S", "bakeDeadline": "PT60S", "rollbackThresholds": {"latencyIncrease": 100}}
STEPS = [{"weight": 20, "pause": True}, {"weight": 60, "bake": "PT60S"}]


@pytest.fixture(scope="module")
def steered(stack: Stack, register: Callable[[str, str], None]) -> str:
    for version in ("1.0.0", "2.0.0"):
        register("steered", version)
    first = ended(stack, stack.api.deploy("steered", version="1.0.0").deployment_id)
    assert first.status is S.ACTIVE, first.message
    return "steered"


def test_a_canary_goes_as_people_say(stack: Stack, steered: str, trained: TrainedModels) -> None:
    def say(*words: str) -> None:
        hotswap(words[0], deployment_id, *words[1:], data=stack.data)

    def is_now(status: S) -> None:
        wait_until(lambda: stack.api.deployment(deployment_id).status is status, seconds=60, what=f"{status}")

    with worker_to_oneself(stack), under_load(stack, steered, trained) as traffic:
        deployment_id = stack.api.deploy(steered, version="2.0.0", config={**BAKE, "steps": STEPS}).deployment_id
        is_now(S.PAUSED)
        seen = stack.api.deployment(deployment_id)
        assert (seen.traffic_percentage, seen.current_step) == (20, 1)
        assert "waits for an approval" in (seen.message or "")
        with pytest.raises(ApiError, match="approve or reject the step"):
            stack.api.promote(deployment_id)
        say("approve", "--step", "1", "--reason", "looks good")
        reaches(stack, deployment_id, 60)
        is_now(S.PROGRESSING)
        by_temporal(stack, steered, "pause")
        is_now(S.PAUSED)
        say("resume")
        is_now(S.PROGRESSING)
        wait_until(lambda: stack.api.deployment(deployment_id).bake_ends_at is not None, what="the bake")
        say("goto", "3")
        reaches(stack, deployment_id, 100)
        last = ended(stack, deployment_id)
    assert last.status is S.ACTIVE, last.message
    assert not [answer for answer in traffic.answers if not answer.succeeded]


def by_temporal(stack: Stack, model: str, verb: str) -> None:
    command = [str(Path(sys.executable).parent / "temporal"), "workflow", "signal", "--name", verb]
    command += ["--workflow-id", f"deployment/Production/{model}", "--input", '{"by":"ann"}']
    command += ["--address", stack.environment["urls"]["temporal"]]
    subprocess.run(command, capture_output=True, text=True, check=True, timeout=patient(30))
