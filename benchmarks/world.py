"""The stack to measure: one of its own in a temporary directory, with one model of two versions, both warm."""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from temporalio.client import Client

from hotswap.demo.models import TrainedModels, train
from hotswap.demo.traffic import DemoTraffic
from hotswap.domain.ids import deployment_workflow_id
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import Environment
from hotswap.process.temporal import connect
from hotswap.schemas.requests import CreateDeployment, RegisterVersion
from hotswap.schemas.responses import DeploymentView
from tests.fixtures.ports import free_base
from tests.fixtures.stack import Stack, described, hotswap

MODEL = "tumour"
VERSIONS = ("1.0.0", "2.0.0")
QUICK_CANARY: dict[str, Any] = {
    "canaryPercentage": 40,
    "incrementStep": 30,
    "monitoringDuration": "PT2S",
    "bakeDeadline": "PT30S",
}

FEW_VERSIONS = {"HOTSWAP_DEPLOYMENTS__KEEP_PREVIOUS": "PT20S"}
"""The world is a model of two versions: by default each of a dozen rollouts would leave one warm for half an hour."""

Result = TypeVar("Result")


class World:
    """`active` is the deployment that serves; the one before it is warm still."""

    def __init__(self, stack: Stack, trained: TrainedModels) -> None:
        self.stack = stack
        self.trained = trained
        self.active: DeploymentView
        self.path = f"/api/v1/inference/{MODEL}"
        self._runner = asyncio.Runner()

    @cached_property
    def temporal(self) -> Client:
        os.environ.update({name: value for name, value in self.stack.control.items() if name.startswith("TEMPORAL_")})
        return self.wait_for(connect())

    @property
    def workflow_id(self) -> str:
        return deployment_workflow_id(Environment.PRODUCTION, MODEL)

    @property
    def candidate(self) -> str:
        """The version that doesn't serve now."""
        return next(version for version in VERSIONS if version != self.active.version)

    def wait_for(self, work: Awaitable[Result]) -> Result:
        """Run a coroutine on the one loop that Temporal's client lives on."""

        async def run() -> Result:
            return await work

        return self._runner.run(run())

    def history(self, run_id: str | None) -> list[Any]:
        """Return the events of one deployment."""
        handle = self.temporal.get_workflow_handle(self.workflow_id, run_id=run_id)

        async def fetch() -> list[Any]:
            return [event async for event in handle.fetch_history_events()]

        return self.wait_for(fetch())

    def deploy(self, version: str, config: dict[str, Any] | None = None) -> DeploymentView:
        """Deploy and follow to the end."""
        accepted = self.stack.api.deployments.start(
            CreateDeployment(model_id=MODEL, version=version, strategy_config=config or {})
        )
        return self.ended(accepted.deployment_id)

    def ended(self, deployment_id: str) -> DeploymentView:
        *_, last = self.stack.api.deployments.follow(deployment_id, interval=0.1)
        if last.status is DeploymentStatus.ACTIVE:
            self.active = last
        return last

    def reaches(self, deployment_id: str, percentage: float) -> None:
        """Return when the weight is verified."""
        for deployment in self.stack.api.deployments.follow(deployment_id, interval=0.05):
            if deployment.traffic_percentage == percentage:
                return
        raise RuntimeError(f"{deployment_id} ended {deployment.status} before {percentage}%: {deployment.message}")

    @contextmanager
    def under_load(self) -> Iterator[DemoTraffic]:
        traffic = DemoTraffic(self.stack.url, self.stack.token, MODEL, self.trained.requests)
        traffic.start()
        try:
            yield traffic
        finally:
            traffic.stop()

    def close(self) -> None:
        self._runner.close()
        self.stack.close()


def seconds_to_start(data: Path, base: int, *, settings: Mapping[str, str] | None = None) -> float:
    begun = time.monotonic()
    hotswap("up", "--detach", "--data-dir", str(data), "--port-base", str(base), settings=settings)
    return time.monotonic() - begun


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hotswap-bench-") as place:
        # PostgreSQL may run as another user, who must be able to come here.
        Path(place).chmod(0o711)
        yield Path(place)


@contextmanager
def running_stack(place: Path) -> Iterator[Stack]:
    data = place / "data"
    try:
        seconds_to_start(data, free_base(), settings=FEW_VERSIONS)
        yield Stack(data, described(data))
    finally:
        hotswap("down", "--data-dir", str(data), expect=None)


@contextmanager
def world() -> Iterator[World]:
    """Yield a stack whose first version was promoted, and then the second by a quick canary under load."""
    with scratch() as place, running_stack(place) as stack:
        trained = train(place)
        for version in VERSIONS:
            uri = f"s3://ml-models/{MODEL}/{version}.tar.gz"
            stack.storage.upload(trained.archives[version], uri)
            stack.api.models.register(RegisterVersion(name=MODEL, version=version, framework="ONNX", artifact_path=uri))
            stack.api.versions.await_registration(MODEL, version)
        found = World(stack, trained)
        try:
            found.deploy(VERSIONS[0], {"firstVersion": {"monitoringDuration": "PT0S"}})
            with found.under_load():
                last = found.deploy(VERSIONS[1], QUICK_CANARY)
            if last.status is not DeploymentStatus.ACTIVE:
                raise RuntimeError(f"the canary of {last.version} ended {last.status}: {last.message}")
            yield found
        finally:
            found.close()
