"""Ray: what the state API tells of a cluster, and that replicas come and go without those beside them noticing."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

import pytest

from hotswap.domain.application import ApplicationHealth, ApplicationState
from hotswap.domain.resources import Amount, Cluster
from serving.ray.client import RayServeClient
from tests.contracts.conftest import application, state_of
from tests.contracts.test_rayserve import ask, replicas
from tests.fixtures.documents import ROOT
from tests.fixtures.patience import patient, until
from tests.fixtures.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.soak]


@contextlib.asynccontextmanager
async def somebody_else(stack: Stack) -> AsyncIterator[None]:
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(stack.data / "secrets" / "ray_token"),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the cluster's address is 127.0.0.1
        "PYTHONPATH": str(ROOT),
    }
    dashboard = int(stack.parts["ray"]["address"].rpartition(":")[2])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contracts.foreign", f"127.0.0.1:{dashboard + 1}"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        async with asyncio.timeout(patient(90)):
            assert b"there" in await process.stdout.readline()
        yield
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), patient(30))


async def cluster_once(serve: RayServeClient, held: Amount) -> Cluster:
    """Once others hold so much."""
    cluster = await serve.resources()

    async def is_held() -> bool:
        nonlocal cluster
        cluster = await serve.resources()
        return cluster.held_by_others == held

    await until(is_held, every=0.1, what=lambda: f"{held} held by others in {cluster}")
    return cluster


@pytest.mark.relied_on_by("serving/ray/state.py", "serving/ray/launcher.py")
async def test_the_state_api_tells_what_nodes_have_and_what_others_hold_but_nothing_of_our_own(
    serve: RayServeClient, ray_head: Stack
) -> None:
    await serve.put([application("ours", replicas=2, gpus=0.5)])
    await state_of(serve, "ours", replicas=2)
    assert (await cluster_once(serve, Amount())).total == Amount.of(gpus=4, cpus=8)
    async with somebody_else(ray_head):
        cluster = await cluster_once(serve, Amount.of(gpus=2, cpus=1.5))
        assert len(cluster.nodes) == 1
    await cluster_once(serve, Amount())


@pytest.mark.relied_on_by("serving/ray/client.py", "activities/replicas.py")
async def test_replicas_come_and_go_and_those_that_stay_are_left_alone(serve: RayServeClient) -> None:
    await serve.put([application("grows", gpus=1)])
    await state_of(serve, "grows", replicas=1)
    first = await replicas(serve, "grows")
    await serve.put([application("grows", replicas=3, gpus=1)])
    await state_of(serve, "grows", replicas=3)
    three = await replicas(serve, "grows")
    assert first < three
    await serve.put([application("grows", replicas=2, gpus=1)])
    state = await state_of(serve, "grows", replicas=2)
    assert await replicas(serve, "grows") < three
    assert [(await ask(target, "grows")).status_code for target in state.targets] == [200, 200]


@pytest.mark.soak  # tests/e2e/test_capacity.py has two versions get past each other so
@pytest.mark.relied_on_by("activities/replicas.py", "hotswap/domain/fleet.py")
async def test_one_application_gets_the_gpus_that_another_gives_away_in_the_same_put(serve: RayServeClient) -> None:
    await serve.put([application("old", replicas=4, gpus=1)])
    await state_of(serve, "old", replicas=4)
    await serve.put([application("old", replicas=3, gpus=1), application("new", replicas=1, gpus=1)])
    assert len((await state_of(serve, "new", replicas=1)).targets) == 1
    await serve.put([application("old", replicas=0, gpus=1), application("new", replicas=4, gpus=1)])
    await state_of(serve, "new", replicas=4)
    assert "old" not in await serve.applications(), "desired with no replica, it isn't named"


@pytest.mark.relied_on_by("activities/readiness.py", "hotswap/stack/environment.py")
async def test_ray_says_why_replicas_wait(serve: RayServeClient) -> None:
    await serve.put([application("waits", replicas=5, gpus=1)])

    async def one_waits() -> ApplicationState | None:
        state = (await serve.applications()).get("waits")
        # Serve's message trails behind: while all five are being placed, or four of them load, it names those.
        if state is None or "1 replicas" not in state.message or "GPU" not in state.message:
            return None
        return state if len(state.targets) == 4 else None

    state = await until(one_waits, every=0.1, what="one replica that waits")
    assert state.health is ApplicationHealth.STARTING
    assert "1 replicas that have taken more than 5s to be scheduled" in state.message
    assert '"GPU": 1.0' in state.message


@pytest.mark.soak  # half a minute of waiting for Serve's autoscaler
@pytest.mark.relied_on_by("serving/ray/client.py")
async def test_replicas_scale_by_the_load_at_their_own_ports(serve: RayServeClient) -> None:
    await serve.put([application("busy", most=3)])
    await state_of(serve, "busy", replicas=1)
    over = asyncio.Event()

    async def client(number: int) -> None:
        while not over.is_set():
            targets = (await serve.applications())["busy"].targets
            with contextlib.suppress(OSError):
                await ask(targets[number % len(targets)], "busy", seconds=0.5)

    clients = [asyncio.create_task(client(number)) for number in range(12)]
    try:
        state = await state_of(serve, "busy", replicas=3)
        assert state.health is ApplicationHealth.RUNNING
    finally:
        over.set()
        await asyncio.gather(*clients)
    await state_of(serve, "busy", replicas=1)
    quiet = await replicas(serve, "busy")
    await serve.put([application("busy", replicas=2, most=3)])
    await state_of(serve, "busy", replicas=2)
    assert quiet < await replicas(serve, "busy"), "more of the fewest restart nobody"
