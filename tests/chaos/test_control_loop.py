"""Traffic outlives the control loop: two minutes without any of it, through the death of Envoy, agent and replicas."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from hotswap.bootstrap.layout import Layout
from hotswap.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.schemas.requests import CreateDeployment
from hotswap.stack import processes
from tests.chaos import looking
from tests.chaos.conftest import REPLICAS
from tests.fixtures.patience import wait_until
from tests.fixtures.stack import Stack, hotswap
from tests.fixtures.work import ended, under_load

pytestmark = [pytest.mark.stack, pytest.mark.soak, pytest.mark.timeout(400)]

CONTROL_LOOP = ("api", "worker", "temporal", "postgres", "valkey", "s3")
SECONDS = 120
"""For how long the control loop stays away."""
CONFIG = {
    "canaryPercentage": 30,
    "incrementStep": 70,
    "monitoringDuration": "PT3S",
    "bakeDeadline": "PT1M",
    # Six servers have just started on the same two cores: how quick the new replicas are then is no question of this.
    "rollbackThresholds": {"latencyIncrease": 100},
}
ASK_AGAIN_AFTER = 2.0
"""What a client waits before its one retry."""


@dataclass(slots=True)
class Absence:
    """What was seen, each second, of parts that should be away."""

    sampled_at: list[float] = field(default_factory=list)
    present: list[str] = field(default_factory=list)

    def sample(self, layout: Layout, addresses: dict[str, str]) -> None:
        alive = {entry.name for entry in processes.load(layout.processes) if processes.is_alive(entry)}
        listening = {part for part, address in addresses.items() if looking.accepts(address)}
        self.present += sorted((alive & set(CONTROL_LOOP)) | listening)
        self.sampled_at.append(time.time())


@contextmanager
def absent(stack: Stack) -> Iterator[Absence]:
    """Sample that the control loop is away, by process and by port, for as long as the block lasts."""
    parts = stack.environment["parts"]
    addresses = {part: parts[part]["address"] for part in CONTROL_LOOP if parts[part]["address"]}
    assert addresses.keys() == {*CONTROL_LOOP} - {"worker"}, "each listens but the worker"
    seen, enough = Absence(), threading.Event()

    def watch() -> None:
        while not enough.wait(1):
            seen.sample(Layout(stack.data), addresses)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        enough.set()
        watching.join()


def test_inference_outlives_the_control_loop(victim: Stack, served: str, trained: TrainedModels) -> None:
    with under_load(victim, served, trained, ask_again_after=ASK_AGAIN_AFTER) as traffic:
        hotswap("stop", "--kill", *CONTROL_LOOP, "--data-dir", str(victim.data))
        begun = time.time()
        with absent(victim) as absence:
            time.sleep(10)
            killed_at = time.time()
            looking.kill_part(victim, "envoy")
            wait_until(lambda: envoy_is_ready(victim), what="Envoy")
            back_at = time.time()
            time.sleep(10)
            looking.kill_part(victim, "agent")
            wait_until(Layout(victim.data).ready_file("agent").exists, what="the agent with its plan at Envoy")
            for _ in range(REPLICAS):
                looking.kill_replica(victim, served)
            time.sleep(max(0.0, begun + SECONDS - time.time()))
        hotswap("start", *CONTROL_LOOP, "--data-dir", str(victim.data))
        deployment = victim.api.deployments.start(
            CreateDeployment(
                model_id=served,
                version="2.0.0" if victim.api.models.get(served).active_version == "1.0.0" else "1.0.0",
                strategy_config=CONFIG,
                resources={"replicas": REPLICAS},
            )
        )
        last = ended(victim, deployment.deployment_id)
    assert absence.present == []
    assert len(absence.sampled_at) > SECONDS / 2
    assert absence.sampled_at[-1] - absence.sampled_at[0] > SECONDS - 5
    failed = [answer for answer in traffic.answers if not answer.succeeded]
    assert not failed, failed[:5]
    asked_twice = [answer.asked_at for answer in traffic.answers if answer.attempts > 1]
    assert asked_twice, "the death of Envoy was felt"
    assert killed_at - 1 < min(asked_twice), "nothing but the death of Envoy needs a second question"
    assert max(asked_twice) < back_at
    assert len([answer for answer in traffic.answers if begun < answer.asked_at < begun + SECONDS]) > 10 * SECONDS
    assert last.status is DeploymentStatus.ACTIVE, last.message


def envoy_is_ready(stack: Stack) -> bool:
    try:
        return httpx.get(f"{stack.environment['urls']['envoyAdmin']}/ready").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
