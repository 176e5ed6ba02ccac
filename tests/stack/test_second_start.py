"""A stack that is stopped, or killed, and started again on the same data serves without anyone asking."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from hotswap.cli.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus
from tests.fixtures import work
from tests.fixtures.ports import free_base
from tests.fixtures.stack import Stack, described, hotswap, start, wait_until

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]


@pytest.fixture
def data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hotswap-again-") as place:
        Path(place).chmod(0o711)
        directory = Path(place) / "data"
        yield directory
        hotswap("down", "--data-dir", str(directory), expect=None)


def processes_of(data: Path) -> list[str]:
    """Everything whose command line, or environment, speaks of this data directory."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [*process.cmdline(), *process.environ().values()]
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if process.pid != os.getpid() and any(str(data) in text for text in told):
            found.append(f"{process.pid} {' '.join(process.cmdline())[:100]}")
    return found


def answers(stack: Stack, trained: TrainedModels) -> bool:
    try:
        answer = stack.http.post("/api/v1/inference/kept", json={"features": trained.requests[0]})
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


def test_a_second_start_serves_again_and_a_stop_leaves_nothing(data: Path, trained: TrainedModels) -> None:
    base = free_base()
    first = start(data, base)
    work.register(first, trained, "kept", "1.0.0")
    deployed = work.ended(first, first.api.deploy("kept", version="1.0.0").deployment_id)
    assert deployed.status is DeploymentStatus.ACTIVE, deployed.message
    first.close()
    hotswap("down", "--data-dir", str(data))
    assert processes_of(data) == []

    second = start(data, base)
    wait_until(lambda: answers(second, trained), what="an answer after the second start")
    assert second.api.model("kept").active_version == "1.0.0"
    assert second.api.deployment(deployed.deployment_id).status is DeploymentStatus.ACTIVE
    second.close()

    supervisor = psutil.Process(int(described(data)["parts"]["envoy"]["pid"])).ppid()
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: processes_of(data) == [], what="no process left after the supervisor was killed")
