"""A stack as its owner has it: the demo starts it, a runbook is typed into it, it is stopped, started again and killed.

The tests are in this order; each needs no more than the demo's stack. Needs curl and procps (`watch`):
`apt-get install curl procps`. Where MinIO's client `mc` isn't installed the same S3 calls are made by the `minio`
library; the runbook's test says which it was.
"""

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from hotswap.demo.models import TrainedModels
from hotswap.demo.run import MODEL as DEMOS_MODEL
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.schemas.requests import CreateDeployment
from tests.fixtures import mc
from tests.fixtures.patience import patient, wait_until
from tests.fixtures.ports import free_base
from tests.fixtures.shell import Shell
from tests.fixtures.stack import BUSY, UNLIMITED, Stack, described, hotswap, start
from tests.fixtures.work import ended, register, under_load

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

SETTINGS = {
    "HOTSWAP_DEPLOYMENTS__MONITORING_DURATION": "PT2S",  # the runbook says nothing of how long its bakes are
    "HOTSWAP_DEPLOYMENTS__KEEP_PREVIOUS": "PT30S",
}


@dataclass(frozen=True)
class Own:
    """A stack of this module's own, and what the demo said when it had started it."""

    data: Path
    port_base: int
    summary: dict[str, Any]
    stack: Stack


@pytest.fixture(scope="module")
def own() -> Iterator[Own]:
    with tempfile.TemporaryDirectory(prefix="hotswap-own-") as place:
        Path(place).chmod(0o711)
        data, base = Path(place) / "data", free_base()
        try:
            words = ["demo", "--port-base", str(base), "--data-dir", str(data), "--keep"]
            said = hotswap(*words, timeout=patient(300), settings={**BUSY, **UNLIMITED, **SETTINGS}).stdout
            stack = Stack(data, described(data))
            yield Own(data, base, json.loads(said.splitlines()[-1]), stack)
            stack.close()
        finally:
            hotswap("down", "--data-dir", str(data), expect=None)


def test_the_demo_does_the_main_job(own: Own) -> None:
    summary = own.summary
    assert summary["promoted"] == "2.0.0"
    assert summary["rolledBack"] == "3.0.0"
    assert summary["workerKilled"] is True
    assert summary["failed"] == 0
    assert summary["requests"] > summary["canaryRequests"]
    assert summary["longestSilenceSeconds"] < 10
    assert summary["canaryRequests"] >= 100
    assert summary["candidateErrors"] >= 1
    assert summary["candidateErrorsFelt"] == 0
    assert summary["rollbackSeconds"] > 0


# --- runbook 1 of the operations guide, typed as it stands ------------------------------------------------------------

# Only what the guide marks as an example is replaced: `model-123` and `{deployment-id}` by real ids, and the framework
# by ONNX, the demo's.

MODEL = "fraud-detection"

UPLOAD = "mc cp fraud-detection-v2.0.tar.gz local/ml-models/fraud-detection/v2.0/"

REGISTER = """
curl -X POST http://localhost:5000/api/v1/models \\
  -H "Authorization: Bearer $TOKEN" \\
  -d '{
    "name": "fraud-detection",
    "version": "2.0.0",
    "framework": "TensorFlow",
    "artifactPath": "s3://ml-models/fraud-detection/v2.0/fraud-detection-v2.0.tar.gz"
  }'
"""

DEPLOY = """
curl -X POST http://localhost:5000/api/v1/deployments \\
  -H "Authorization: Bearer $TOKEN" \\
  -d '{
    "modelId": "model-123",
    "strategy": "Canary",
    "environment": "Production",
    "strategyConfig": {"canaryPercentage": 10}
  }'
"""

MONITOR = "watch curl http://localhost:5000/api/v1/deployments/{deployment-id}"

ROLL_BACK = "curl -X POST http://localhost:5000/api/v1/deployments/{deployment-id}/rollback"


def serve_first(stack: Stack, trained: TrainedModels) -> str:
    """What the runbook finds: version 1.0.0 in production. Returns the model's id."""
    register(stack, trained, MODEL, "1.0.0")
    first = ended(stack, stack.api.deployments.start(CreateDeployment(model_id=MODEL, version="1.0.0")).deployment_id)
    assert first.status is S.ACTIVE, first.message
    return stack.api.models.get(MODEL).model_id


def has_traffic(stack: Stack, deployment_id: str) -> None:
    """Starting replicas beside others takes as long as it takes; an end before any traffic says why."""
    seen = [stack.api.deployments.get(deployment_id)]

    def begun() -> bool:
        seen.append(stack.api.deployments.get(deployment_id))
        return seen[-1].traffic_percentage >= 10 or seen[-1].status.is_terminal

    wait_until(begun, seconds=150, what="the first weight")
    assert not seen[-1].status.is_terminal, f"{seen[-1].status}: {seen[-1].message}"


def deploy(shell: Shell, model_id: str) -> str:
    accepted = shell.type(DEPLOY.replace("model-123", model_id))
    assert (accepted["model"], accepted["version"]) == (MODEL, "2.0.0"), "the newest version, where none is named"
    return str(accepted["deploymentId"])


@pytest.mark.parametrize("s3_client", [mc.CLIENT])
def test_the_runbook_holds_as_it_stands(own: Own, trained: TrainedModels, tmp_path: Path, s3_client: str) -> None:
    """Once rolled back in the middle, as its last step says, and once left alone to its end."""
    stack = own.stack
    shutil.copy(trained.archives["2.0.0"], tmp_path / "fraud-detection-v2.0.tar.gz")
    shell, model_id = Shell(stack, tmp_path), serve_first(stack, trained)
    with under_load(stack, MODEL, trained) as traffic:
        shell.type(UPLOAD)
        registered = shell.type(REGISTER.replace("TensorFlow", "ONNX"))
        assert (registered["model"], registered["version"]) == (MODEL, "2.0.0")
        stack.api.versions.await_registration(MODEL, "2.0.0")

        rolled_back = deploy(shell, model_id)
        has_traffic(stack, rolled_back)
        shell.look(MONITOR.replace("{deployment-id}", rolled_back), until='"status":"Progressing"')
        answer = shell.type(ROLL_BACK.replace("{deployment-id}", rolled_back))
        assert answer["deploymentId"] == rolled_back, "under way, it is this one that goes back"
        last = ended(stack, rolled_back)
        assert (last.status, last.traffic_percentage) == (S.ROLLED_BACK, 0)
        assert stack.api.models.get(MODEL).active_version == "1.0.0"

        promoted = deploy(shell, model_id)
        last = ended(stack, promoted)
        assert last.status is S.ACTIVE, last.message
        shell.look(MONITOR.replace("{deployment-id}", promoted), until='"status":"Active"')
    assert traffic.answers
    assert not [answer for answer in traffic.answers if not answer.succeeded], "no client noticed what was typed"
    assert [step.weight for step in last.steps] == [10, 25, 40, 55, 70, 85, 100]
    assert stack.api.models.get(MODEL).active_version == "2.0.0"


# --- stopped, started again and killed --------------------------------------------------------------------------------


def processes_of(data: Path) -> list[str]:
    """Everything whose command line, or environment, speaks of this data directory."""
    found = []
    for process in psutil.process_iter():
        try:
            command, environment = process.cmdline(), process.environ()
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if process.pid != os.getpid() and any(str(data) in text for text in (*command, *environment.values())):
            found.append(f"{process.pid} {' '.join(command)[:100]}")
    return found


def answers(stack: Stack, trained: TrainedModels) -> bool:
    try:
        answer = stack.http.post(f"/api/v1/inference/{DEMOS_MODEL}", json={"features": trained.requests[0]})
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


def deployments(stack: Stack) -> list[tuple[str, S]]:
    return [(each.version, each.status) for each in stack.api.deployments.list(model=DEMOS_MODEL).items]


def test_a_second_start_serves_again_and_a_stop_leaves_nothing(own: Own, trained: TrainedModels) -> None:
    before = deployments(own.stack)
    own.stack.close()
    hotswap("down", "--data-dir", str(own.data))
    assert processes_of(own.data) == []

    second = start(own.data, own.port_base, SETTINGS)
    wait_until(lambda: answers(second, trained), what="an answer after the second start")
    assert second.api.models.get(DEMOS_MODEL).active_version == own.summary["promoted"]
    assert deployments(second) == before
    second.close()

    supervisor = psutil.Process(int(described(own.data)["parts"]["envoy"]["pid"])).ppid()
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: processes_of(own.data) == [], what="no process left after the supervisor was killed")
