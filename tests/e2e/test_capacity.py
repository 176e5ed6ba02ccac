"""Two replicas beside two on three GPUs, under load: no answer is lost on the way forward, and back what can't be held
is turned away until it can.
"""

import time
from collections.abc import Callable

import httpx
import pytest
from scipy.stats import binom

from hotswap.client import ApiError
from hotswap.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.schemas.requests import CreateDeployment
from hotswap.schemas.responses import DeploymentView
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.stack import Stack, worker_to_oneself
from tests.fixtures.work import ended, reaches, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

MODEL = "scarce"
TWO = {"replicas": 2, "gpus": 1}
QUICK = {"canaryPercentage": 50, "incrementStep": 50, "monitoringDuration": "PT3S", "minimumRequests": 20}
LONG = {**QUICK, "monitoringDuration": "PT120S"}


@pytest.fixture(scope="module")
def scarce(stack: Stack, register: Callable[[str, str], None]) -> Stack:
    """The stack, where the first version serves by two of its three GPUs."""
    for version in ("1.0.0", "2.0.0"):
        register(MODEL, version)
    first = ended(
        stack,
        stack.api.deployments.start(CreateDeployment(model_id=MODEL, version="1.0.0", resources=TWO)).deployment_id,
    )
    assert first.status is S.ACTIVE, first.message
    return stack


def replicas(stack: Stack) -> dict[str, int]:
    """Those that run, by version."""
    told = stack.control
    applications = httpx.get(
        f"{told['HOTSWAP_RAY__DASHBOARD_URL']}/api/serve/applications/",
        headers={"Authorization": f"Bearer {told['HOTSWAP_RAY__AUTH_TOKEN']}"},
        timeout=patient(10),
    ).json()["applications"]
    running = {
        name.rpartition("-")[2]: sum(
            replica["state"] == "RUNNING"
            for deployment in found["deployments"].values()  # there is none yet, or none any more, at either end
            for replica in deployment["replicas"]
        )
        for name, found in applications.items()
        if found["status"] != "DELETING"
    }
    asked = stack.api.deployments.list(model=MODEL).items
    return {
        each.version: running[short]
        for each in asked
        if (short := each.deployment_id.removeprefix("dep-")[:8]) in running
    }


def serving(stack: Stack) -> DeploymentView:
    """Whichever version it is: each of these tests can be run by itself."""
    [found] = [each for each in stack.api.deployments.list(model=MODEL).items if each.traffic_percentage == 100]
    return found


def test_two_get_past_two_on_three_gpus_and_no_answer_is_lost(scarce: Stack, trained: TrainedModels) -> None:
    with under_load(scarce, MODEL, trained) as traffic:
        asked = scarce.api.deployments.start(
            CreateDeployment(model_id=MODEL, version="2.0.0", strategy_config=QUICK, resources=TWO)
        )
        last = ended(scarce, asked.deployment_id)
    assert last.status is S.ACTIVE, last.message
    assert not [answer for answer in traffic.answers if not answer.succeeded]
    assert {answer.version for answer in traffic.answers} == {"1.0.0", "2.0.0"}
    assert traffic.answers[-1].version == "2.0.0"


def test_what_has_no_room_is_refused_with_the_sum(scarce: Stack, register: Callable[[str, str], None]) -> None:
    register("other", "1.0.0")
    with pytest.raises(ApiError, match=r"4 x 1 GPU can never fit: the whole cluster has 3 GPUs"):
        scarce.api.deployments.start(CreateDeployment(model_id="other", resources={"replicas": 4, "gpus": 1}))
    with pytest.raises(ApiError) as refused:
        scarce.api.deployments.start(CreateDeployment(model_id="other", resources={"replicas": 2, "gpus": 1}))
    assert refused.value.code == "INSUFFICIENT_CAPACITY"
    assert f"Production-{MODEL}-" in str(refused.value)


def test_an_abort_sheds_what_the_stable_can_not_hold_until_it_can(scarce: Stack, trained: TrainedModels) -> None:
    stable = serving(scarce).version
    candidate = "1.0.0" if stable == "2.0.0" else "2.0.0"
    asked = scarce.api.deployments.start(
        CreateDeployment(model_id=MODEL, version=candidate, strategy_config=LONG, resources=TWO)
    )  # what was kept warm makes room
    with worker_to_oneself(scarce), under_load(scarce, MODEL, trained) as traffic:
        reaches(scarce, asked.deployment_id, 50)
        wait_until(lambda: len(traffic.answers) > 200, what="some answers")
        scarce.api.deployments.promote(asked.deployment_id)
        reaches(scarce, asked.deployment_id, 100)
        assert not [answer for answer in traffic.answers if not answer.succeeded]
        assert replicas(scarce) == {candidate: 2, stable: 1}
        aborted_at = time.time()
        scarce.api.deployments.abort(asked.deployment_id, reason="the test")
        shed = first_refusal(scarce, trained)
        last = ended(scarce, asked.deployment_id)
        over_at = time.time()
        time.sleep(1)
    assert last.status is S.ROLLED_BACK, last.message
    assert shed.headers["retry-after"].isdigit()
    assert shed.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
    after = [answer for answer in traffic.answers if answer.asked_at > aborted_at + 2]
    assert {answer.version for answer in after if answer.succeeded} == {stable}, "harm wins: nothing more of it"
    meanwhile = [answer.succeeded for answer in after if answer.asked_at < aborted_at + 4]
    low, high = binom.interval(0.99999, len(meanwhile), 0.5)
    assert low <= sum(meanwhile) <= high, "what one of two replicas holds is answered"
    assert 0 < sum(meanwhile) < len(meanwhile)
    assert not [answer for answer in traffic.answers if answer.asked_at > over_at and not answer.succeeded]
    assert replicas(scarce) == {stable: 2}


def first_refusal(stack: Stack, trained: TrainedModels) -> httpx.Response:
    def refusal() -> httpx.Response | None:
        answer = stack.http.post(f"/api/v1/inference/{MODEL}", json={"features": trained.requests[0]})
        return answer if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else None

    found: httpx.Response = wait_until(refusal, seconds=20, every=0.02, what="a request that is turned away")
    return found


def test_what_serves_is_scaled(scarce: Stack) -> None:
    stable = serving(scarce)
    scarce.api.deployments.scale(stable.deployment_id, 3, reason="the test")
    wait_until(lambda: replicas(scarce) == {stable.version: 3}, what="three replicas")
    with pytest.raises(ApiError, match="4 x 1 GPU can never fit"):
        scarce.api.deployments.scale(stable.deployment_id, 4)
    scarce.api.deployments.scale(stable.deployment_id, 1)
    wait_until(lambda: replicas(scarce) == {stable.version: 1}, what="one replica")
