"""What is alpha, private or ours alone, on the real servers: what a new version breaks fails here and says whose it is.

Ray's head and an Envoy, with toy applications where the models would be.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hotswap.domain.application import (
    ApplicationHealth,
    ApplicationSpec,
    ApplicationState,
    ArtifactRef,
    Desired,
    ReplicaResources,
)
from hotswap.domain.vocabulary import Environment, Framework
from serving.ray import client as ray_client
from serving.ray.client import RayServeClient
from tests.fixtures.documents import ROOT
from tests.fixtures.patience import patient, until
from tests.fixtures.ports import free_base
from tests.fixtures.stack import Stack, hotswap, start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    marker = item.get_closest_marker("relied_on_by")
    if call.excinfo is not None and marker is not None:
        call.excinfo.value.add_note(f"this is relied on by {', '.join(marker.args)}")
    return (yield)


@pytest.fixture(scope="package")
def ray_head() -> Iterator[Stack]:
    """Of the stack, Ray alone, with four GPUs that it counts with."""
    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory(prefix="hotswap-contracts-") as place:
        environment.setenv("HOTSWAP_STACK_PARTS", "ray")
        environment.setenv("PYTHONPATH", str(ROOT))
        Path(place).chmod(0o711)
        data = Path(place) / "data"
        try:
            yield start(data, free_base(), gpus=4)
        finally:
            hotswap("down", "--data-dir", str(data), expect=None)


@pytest.fixture
async def serve(ray_head: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RayServeClient]:
    """Our own client; it puts toys with the very configuration that models have."""
    told = ray_head.control
    client = RayServeClient(
        told["HOTSWAP_RAY__DASHBOARD_URL"],
        told["HOTSWAP_RAY__AUTH_TOKEN"],
        host=told["HOTSWAP_RAY__HTTP_HOST"],
        port=int(told["HOTSWAP_RAY__HTTP_PORT"]),
        timeout=patient(10),
    )
    ours = ray_client.application_config

    def toy_config(desired: Desired) -> dict[str, Any]:
        config = ours(desired) | {"import_path": "tests.contracts.toy:build"}
        if scaling := config["deployments"][0].get("autoscaling_config"):
            scaling |= {"upscale_delay_s": 1, "downscale_delay_s": 3, "look_back_period_s": 2}  # or it takes minutes
        return config

    monkeypatch.setattr(ray_client, "application_config", toy_config)
    yield client
    await client.put([])
    await client.aclose()


def application(name: str, *, replicas: int = 1, gpus: float = 0.0, most: int | None = None) -> Desired:
    """Of a toy; with `most` it scales by load, from `replicas` on."""
    spec = ApplicationSpec(
        name=name,
        deployment_id="dep-1a2b3c4d",
        environment=Environment.PRODUCTION,
        model="fraud",
        version="1.0.0",
        framework=Framework.ONNX,
        artifact=ArtifactRef("s3://ml-models/none", "0" * 64, 1),
        input_schema={},
        output_schema={},
        resources=ReplicaResources(replicas=1, gpus=gpus, cpus=0.1, min_replicas=most and 1, max_replicas=most),
    )
    return Desired(spec, replicas, replicas)


async def state_of(serve: RayServeClient, name: str, *, replicas: int) -> ApplicationState:
    """Of an application, once it runs on exactly so many replicas or has failed."""
    state: ApplicationState | None = None

    async def is_settled() -> bool:
        nonlocal state
        with contextlib.suppress(httpx.TimeoutException):  # a busy machine; it is asked again
            state = (await serve.applications()).get(name)
        return state is not None and (
            state.health is ApplicationHealth.FAILED
            or (state.health is ApplicationHealth.RUNNING and len(state.targets) == replicas)
        )

    await until(is_settled, seconds=60, every=0.25, what=lambda: f"{replicas} replicas of {name}, which is {state},")
    assert state is not None
    return state
