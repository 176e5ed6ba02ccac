"""A cluster that comes back with fewer GPUs in the middle of a canary: nothing goes forward that has no room, and what
is left serves.
"""

import tempfile
from pathlib import Path

import pytest

from hotswap.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Reason
from hotswap.schemas.requests import CreateDeployment
from tests.fixtures.ports import free_base
from tests.fixtures.stack import hotswap, start
from tests.fixtures.work import ended, reaches, register, under_load

pytestmark = [pytest.mark.soak, pytest.mark.stack, pytest.mark.timeout(400)]

MODEL = "losing"
TWO = {"replicas": 2, "gpus": 1}
CANARY = {
    "canaryPercentage": 50,
    "incrementStep": 50,
    "monitoringDuration": "PT10S",
    "bakeDeadline": "PT5M",
    "minimumRequests": 20,
    "progressDeadline": "PT30S",
}


def test_a_canary_whose_cluster_loses_a_gpu_goes_back_and_the_stable_holds_all(trained: TrainedModels) -> None:
    with tempfile.TemporaryDirectory(prefix="hotswap-losing-") as place:
        Path(place).chmod(0o711)
        data, base = Path(place) / "data", free_base()
        stack = start(data, base, gpus=3)
        try:
            for version in ("1.0.0", "2.0.0"):
                register(stack, trained, MODEL, version)
            first = ended(
                stack,
                stack.api.deployments.start(
                    CreateDeployment(model_id=MODEL, version="1.0.0", resources=TWO)
                ).deployment_id,
            )
            assert first.status is S.ACTIVE, first.message
            asked = stack.api.deployments.start(
                CreateDeployment(model_id=MODEL, version="2.0.0", strategy_config=CANARY, resources=TWO)
            )
            reaches(stack, asked.deployment_id, 50)
            stack.close()
            hotswap("down", "--data-dir", str(data))
            stack = start(data, base, gpus=2)
            with under_load(stack, MODEL, trained) as traffic:
                last = ended(stack, asked.deployment_id)
            assert last.status is S.ROLLED_BACK
            # Three replicas are wanted on two GPUs. If the candidate's finds none, it fails all that it is asked; else
            # its next step waits in vain for a second one.
            assert last.reason in {Reason.ERROR_RATE, Reason.DEADLINE_EXCEEDED}
            assert stack.api.deployments.get(first.deployment_id).traffic_percentage == 100
            answer = stack.http.post(f"/api/v1/inference/{MODEL}", json={"features": trained.requests[0]})
            assert answer.headers["x-hotswap-version"] == "1.0.0"
            assert {each.version for each in traffic.answers if each.succeeded} <= {"1.0.0", "2.0.0"}
        finally:
            stack.close()
            hotswap("down", "--data-dir", str(data), expect=None)
