"""The whole stack stopped, or killed, in the middle of a canary: it serves again as it was, and the canary goes on.

Clients never stop asking: what nobody could answer meanwhile must not count as a pass.
"""

import os
import signal
import time
from contextlib import suppress

import httpx
import pytest

from hotswap.demo.models import TrainedModels
from hotswap.demo.traffic import DemoTraffic
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.schemas.requests import CreateDeployment
from hotswap.schemas.responses import Accepted
from tests.chaos import looking
from tests.chaos.conftest import REPLICAS
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack, hotswap
from tests.fixtures.work import ended, reaches, under_load

pytestmark = [pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(300)]

FIRST = 20
CANARY = {
    "canaryPercentage": FIRST,
    "incrementStep": 100 - FIRST,
    "monitoringDuration": "PT10S",
    "bakeDeadline": "PT10M",
    # Takes seconds under load after the start: the first bake doesn't end before it was looked at.
    "minimumRequests": 300,
    "rollbackThresholds": {"latencyIncrease": 100},
}


def begin_canary(stack: Stack, model: str) -> Accepted:
    """Of whichever version isn't active; returns when its first weight is verified."""
    other = {"1.0.0": "2.0.0", "2.0.0": "1.0.0"}[str(stack.api.models.get(model).active_version)]
    accepted = stack.api.deployments.start(
        CreateDeployment(model_id=model, version=other, strategy_config=CANARY, resources={"replicas": REPLICAS})
    )
    reaches(stack, accepted.deployment_id, FIRST)
    return accepted


def is_answered(stack: Stack, model: str, trained: TrainedModels) -> bool:
    with suppress(httpx.HTTPError):
        answer = stack.http.post(f"/api/v1/inference/{model}", json={"features": trained.requests[0]})
        return answer.status_code == httpx.codes.OK
    return False


def all_replicas_are_back(stack: Stack, model: str) -> bool:
    return len(looking.replicas(stack, model)) == 2 * REPLICAS and looking.routed_as_they_are(stack, model)


def goes_on_as_it_was(
    stack: Stack, accepted: Accepted, model: str, before: dict[str, int], trained: TrainedModels, traffic: DemoTraffic
) -> None:
    """With the verified weight, and to its end; no request fails from when the replicas of both versions are back."""
    wait_until(lambda: is_answered(stack, model, trained), seconds=150, what="an answer after the start")
    assert looking.weights(stack, model) == before
    wait_until(lambda: all_replicas_are_back(stack, model), what="both versions")
    back_at = time.time()
    last = ended(stack, accepted.deployment_id)
    assert last.status is DeploymentStatus.ACTIVE, last.message
    assert stack.api.models.get(model).active_version == accepted.version
    assert not [answer for answer in traffic.answers if answer.asked_at > back_at and not answer.succeeded]


def test_a_canary_goes_on_after_a_stop_in_the_middle_of_a_bake(
    victim: Stack, served: str, trained: TrainedModels
) -> None:
    with under_load(victim, served, trained) as traffic:
        accepted = begin_canary(victim, served)
        before = looking.weights(victim, served)
        assert sorted(before.values()) == [2_000, 8_000]
        hotswap("down", "--data-dir", str(victim.data))
        hotswap("up", "--detach", "--data-dir", str(victim.data))
        goes_on_as_it_was(victim, accepted, served, before, trained, traffic)


def test_a_canary_goes_on_after_a_stack_was_killed_as_a_whole(
    victim: Stack, served: str, trained: TrainedModels
) -> None:
    with under_load(victim, served, trained) as traffic:
        accepted = begin_canary(victim, served)
        before = looking.weights(victim, served)
        for pid in looking.everything(victim):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_answered(victim, served, trained), what="silence")
        hotswap("up", "--detach", "--data-dir", str(victim.data))
        goes_on_as_it_was(victim, accepted, served, before, trained, traffic)
