"""Which proxies a weight waits for: those that serve its environment, and the lost ones for a while."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.traffic import TrafficActivities
from hotswap.domain.proxies import LEASE_SECONDS, RegisteredProxy
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Counts, ProxyReport, TrafficChange, TrafficPlan
from hotswap.domain.vocabulary import Environment
from hotswap.messages import SetWeight, VerifiedWeight
from tests.fixtures.patience import patient, until

STABLE, CANDIDATE = Arm("stable", "1.0.0", "dep-1"), Arm("candidate", "2.0.0", "dep-2")
PLAN = TrafficPlan(20, installation="ours")
LOST_AFTER = timedelta(minutes=10)
CHANGE = TrafficChange(Environment.PRODUCTION, "m", "dep-2", 1, STABLE, CANDIDATE, TOTAL_WEIGHT // 2)


def proxy(
    name: str, generation: int = PLAN.generation, *, silent_for: float = 0.0, lineage: int = 0, **more: Any
) -> RegisteredProxy:
    counts = {"candidate": Counts(completed=1)}
    report = ProxyReport(name, generation, 1_000.0, counts, lineage=lineage, installation="ours")
    return RegisteredProxy(replace(report, **more), silent_for)


class World:
    """PostgreSQL with a plan, and a fleet; `recorded` is the message of each weight that was verified."""

    def __init__(self, *fleet: RegisteredProxy, plan: TrafficPlan = PLAN) -> None:
        self.fleet, self.plan = list(fleet), plan
        self.recorded: list[str] = []
        self.published: list[TrafficPlan] = []

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        return self.plan

    async def current(self) -> TrafficPlan:
        return self.plan

    async def begin_lineage(self, *, after: int) -> TrafficPlan:
        self.plan = replace(self.plan, lineage=max(self.plan.lineage, after + 1))
        return self.plan

    async def proxies(self) -> list[RegisteredProxy]:
        return self.fleet

    async def publish(self, plan: TrafficPlan) -> None:
        self.published.append(plan)

    async def until_ready(self, needed: dict[str, int]) -> None:
        return None

    async def record_weight(self, deployment_id: str, *, message: str, **_: Any) -> None:
        self.recorded.append(message)


class Setting:
    """A weight that is being set, and what its heartbeats say meanwhile."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.notes: list[str] = []
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda *said: self.notes.extend(map(str, said))
        parts: Any = world
        activities = TrafficActivities(parts, parts, parts, parts, lost_after=LOST_AFTER)
        request = SetWeight(change=CHANGE, share=TOTAL_WEIGHT // 2, progress=None, needs={})
        self.task: asyncio.Task[VerifiedWeight] = asyncio.create_task(environment.run(activities.set_weight, request))

    async def done(self) -> VerifiedWeight:
        async with asyncio.timeout(patient(20)):
            return await self.task

    async def says(self, words: str) -> None:
        await until(lambda: any(words in note for note in self.notes), what=lambda: f"{words!r} in {self.notes}")


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Callable[[World], Setting]:
    monkeypatch.setattr("activities.traffic.REPUBLISH_SECONDS", 0.01)
    return Setting


async def test_a_lost_proxy_holds_the_step_which_says_so_until_it_is_back(setting: Callable[[World], Setting]) -> None:
    world = World(proxy("envoy-0"), proxy("envoy-1", 17, silent_for=43))
    going = setting(world)
    await going.says("plan 20 waits for envoy-1 (at 17, lost for 43 s)")
    assert not going.task.done()
    world.fleet[1] = proxy("envoy-1")
    assert (await going.done()).proxies == ("envoy-0", "envoy-1")


async def test_a_proxy_that_is_lost_for_good_is_out_of_the_count_and_that_is_told(
    setting: Callable[[World], Setting],
) -> None:
    world = World(proxy("envoy-0"), proxy("envoy-1", 17, silent_for=LOST_AFTER.total_seconds()))
    going = setting(world)
    await going.says("waits for envoy-1 (at 17, lost for 600 s)")
    world.fleet[1] = proxy("envoy-1", 17, silent_for=LOST_AFTER.total_seconds() + 60)
    assert (await going.done()).proxies == ("envoy-0",)
    assert world.recorded == ["50% verified at envoy-0; not asked, since out of the count: envoy-1 (lost for 11 min)"]


async def test_nothing_is_verified_by_nobody(setting: Callable[[World], Setting]) -> None:
    world = World(proxy("envoy-0", silent_for=700))
    going = setting(world)
    await going.says("no proxy is registered to confirm it")
    assert not going.task.done()
    world.fleet.append(proxy("envoy-1"))
    assert (await going.done()).proxies == ("envoy-1",)


async def test_a_proxy_of_another_environment_stops_nobody(setting: Callable[[World], Setting]) -> None:
    staging = proxy("envoy-1", 3, silent_for=LEASE_SECONDS + 1, environments=(Environment.STAGING,))
    assert (await setting(World(proxy("envoy-0"), staging)).done()).proxies == ("envoy-0",)


async def test_a_proxy_of_another_installation_counts_for_nothing(setting: Callable[[World], Setting]) -> None:
    world = World(proxy("envoy-0"), proxy("envoy-9", 900, lineage=9, installation="theirs"))
    assert (await setting(world).done()).proxies == ("envoy-0",)
    assert world.plan == PLAN


async def test_what_was_confirmed_before_a_restore_confirms_nothing(setting: Callable[[World], Setting]) -> None:
    """PostgreSQL was restored: its plan is number 20, and the proxies have had a plan 20, and 150, long ago."""
    world = World(proxy("envoy-0", 150), proxy("envoy-1", 149))
    going = setting(world)
    await going.says("plan 20 of lineage 1 waits for envoy-0 (at 150), envoy-1 (at 149)")
    assert not going.task.done()
    assert world.published[-1].number == world.plan.number
    world.fleet = [proxy("envoy-0", lineage=1), proxy("envoy-1", lineage=1)]
    assert (await going.done()).proxies == ("envoy-0", "envoy-1")


async def test_a_proxy_that_is_merely_ahead_of_this_change_has_confirmed_it(
    setting: Callable[[World], Setting],
) -> None:
    world = World(proxy("envoy-0", 22))
    applied = setting(world)
    world.plan = replace(PLAN, generation=22)  # of other models, between the change and the look
    assert (await applied.done()).proxies == ("envoy-0",)
    assert world.plan.lineage == 0
