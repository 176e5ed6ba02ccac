"""What is taken back goes by what the proxies said last: nobody slow is asked on the way of an abort."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from activities import readiness
from activities.readiness import ReadyReplicas
from hotswap.domain.application import ReplicaResources
from hotswap.domain.capacity import ReplicaReadiness
from hotswap.domain.proxies import LEASE_SECONDS, RegisteredProxy
from hotswap.domain.traffic import ProxyReport
from tests.workflows.fake_serving import FakeApplications, FakeCluster
from tests.workflows.world import STABLE, World, rollout_brief

NOW = 1_000.0
NAME = STABLE.application
WANTED, FULL = 3, 4


class UnaskedCluster:
    async def put(self, applications: Any) -> None:
        raise AssertionError("going back tells Ray nothing before the traffic is back")

    async def applications(self) -> Any:
        raise AssertionError("going back asks Ray nothing before the traffic is back")


@pytest.fixture
def ready() -> ReadyReplicas:
    world = World(rollout_brief(), clock=lambda: NOW)
    spec = replace(
        world.brief.application_spec(warmup_timeout_seconds=10), name=NAME, resources=ReplicaResources(replicas=FULL)
    )
    world.serve(spec, replicas=WANTED)
    return ReadyReplicas(FakeApplications(world), UnaskedCluster())


def knows(number: int, *, proxy: str = "envoy-0", seconds_ago: float = 0.0) -> RegisteredProxy:
    return RegisteredProxy(ProxyReport(proxy, 1, NOW, replicas={NAME: number, "another": 9}), seconds_ago)


@pytest.mark.parametrize(
    ("proxies", "count"),
    [
        pytest.param([knows(2)], 2, id="those that the proxy can route to"),
        pytest.param([knows(4)], WANTED, id="never more than are wanted: one of those is on its way out"),
        pytest.param(
            [knows(1, proxy="envoy-0", seconds_ago=1), knows(2, proxy="envoy-1")], 2, id="of two, who spoke last"
        ),
        pytest.param([knows(1, seconds_ago=LEASE_SECONDS + 1)], WANTED, id="what is old says nothing"),
        pytest.param([RegisteredProxy(ProxyReport("envoy-0", 1, NOW), 0.0)], WANTED, id="not known yet is not none"),
        pytest.param([], WANTED, id="no proxy"),
    ],
)
async def test_a_glance_counts_what_the_proxies_can_route_to(
    ready: ReadyReplicas, proxies: list[RegisteredProxy], count: int
) -> None:
    assert await ready.at_a_glance(NAME, proxies) == ReplicaReadiness(ready=count, wanted=WANTED, full=FULL)


async def test_what_nobody_wants_has_no_readiness(ready: ReadyReplicas) -> None:
    assert await ready.at_a_glance("gone", [knows(2)]) is None


async def test_that_more_replicas_are_ready_counts_only_after_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "heartbeat_note", lambda _: None)
    monkeypatch.setattr(readiness, "GATHER_SECONDS", 0.0)
    monkeypatch.setattr(readiness, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(readiness, "heartbeat_note", lambda text: None)  # no activity runs here
    world = World(rollout_brief(), clock=lambda: NOW)
    spec = replace(
        world.brief.application_spec(warmup_timeout_seconds=10), name=NAME, resources=ReplicaResources(replicas=FULL)
    )
    world.serve(spec, replicas=WANTED)
    ready = ReadyReplicas(FakeApplications(world), FakeCluster(world))
    assert (await ready.until_more(NAME, than=1)).ready == WANTED
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await ready.until_more(NAME, than=1, pause_seconds=60.0)
    world.serve(spec, replicas=FULL)
    assert (await ready.until_more(NAME, than=1, pause_seconds=60.0)).is_full, "all are enough at once"
