"""The whole stack stopped, or killed, in the middle of a canary: it serves again as it was, and the canary goes on."""

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import httpx
import pytest

from hotswap.cli.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.views import Accepted
from tests.chaos import looking
from tests.chaos.conftest import REPLICAS
from tests.fixtures.stack import Stack, hotswap, wait_until
from tests.fixtures.work import ended, reaches, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

SHARE = 0.2
QUESTIONS = 400
CANARY = {
    "canaryPercentage": 100 * SHARE,
    "incrementStep": 80,
    "monitoringDuration": "PT10S",
    "bakeDeadline": "PT10M",
    # More than the questions here give it: the first bake ends only under load.
    "minimumRequests": QUESTIONS // 2,
    "rollbackThresholds": {"latencyIncrease": 100},
}
MOST_SECONDS_TO_SERVE = 20
"""The one bar of time that is held here and not by the benchmark: it is what a power cut costs."""


def begin_canary(stack: Stack, model: str) -> Accepted:
    """Of whichever version isn't active; returns when its first weight is verified."""
    other = {"1.0.0": "2.0.0", "2.0.0": "1.0.0"}[str(stack.api.model(model).active_version)]
    accepted = stack.api.deploy(model, version=other, config=CANARY, resources={"replicas": REPLICAS})
    reaches(stack, accepted.deployment_id, 100 * SHARE)
    return accepted


def is_answered(stack: Stack, model: str, trained: TrainedModels) -> bool:
    with suppress(httpx.HTTPError):
        answer = stack.http.post(f"/api/v1/inference/{model}", json={"features": trained.requests[0]})
        return answer.status_code == httpx.codes.OK
    return False


def all_replicas_are_back(stack: Stack, model: str) -> bool:
    return len(looking.replicas(stack, model)) == 2 * REPLICAS and looking.routed_as_they_are(stack, model)


def goes_on_to_its_end(stack: Stack, accepted: Accepted, model: str, trained: TrainedModels) -> None:
    with under_load(stack, model, trained) as traffic:
        last = ended(stack, accepted.deployment_id)
    assert last.status is DeploymentStatus.ACTIVE, last.message
    assert stack.api.model(model).active_version == accepted.version
    assert not [answer for answer in traffic.answers if not answer.succeeded]


def test_a_canary_goes_on_after_a_stop_in_the_middle_of_a_bake(
    victim: Stack, served: str, trained: TrainedModels
) -> None:
    accepted = begin_canary(victim, served)
    before = looking.weights(victim, served)
    assert sorted(before.values()) == [2_000, 8_000]
    hotswap("down", "--data-dir", str(victim.data))
    hotswap("up", "--detach", "--data-dir", str(victim.data))
    wait_until(lambda: is_answered(victim, served, trained), what="an answer after the start")
    assert looking.weights(victim, served) == before
    wait_until(lambda: all_replicas_are_back(victim, served), what="both versions")
    versions = [
        victim.http.post(f"/api/v1/inference/{served}", json={"features": row}).headers["x-hotswap-version"]
        for row in trained.requests[:QUESTIONS]
    ]
    expected, spread = SHARE * QUESTIONS, 4 * math.sqrt(SHARE * (1 - SHARE) * QUESTIONS)
    assert expected - spread < versions.count(accepted.version) < expected + spread
    assert victim.api.deployment(accepted.deployment_id).traffic_percentage == 100 * SHARE
    goes_on_to_its_end(victim, accepted, served, trained)


def test_a_stack_killed_as_a_whole_serves_again_at_once(victim: Stack, served: str, trained: TrainedModels) -> None:
    accepted = begin_canary(victim, served)
    before = looking.weights(victim, served)
    for pid in looking.everything(victim):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_answered(victim, served, trained), what="silence")
    begun = time.monotonic()
    up = [sys.executable, "-m", "hotswap.cli", "up", "--detach", "--data-dir", str(victim.data)]
    with subprocess.Popen(up, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as starting:
        wait_until(lambda: is_answered(victim, served, trained), seconds=150, what="an answer after the start")
        took = time.monotonic() - begun
        told, _ = starting.communicate(timeout=120)
    assert starting.returncode == 0, told
    assert looking.weights(victim, served) == before
    wait_until(lambda: all_replicas_are_back(victim, served), what="both versions")
    goes_on_to_its_end(victim, accepted, served, trained)
    assert took < MOST_SECONDS_TO_SERVE, f"it took {took:.1f} s; the load of this machine: {os.getloadavg()}"
