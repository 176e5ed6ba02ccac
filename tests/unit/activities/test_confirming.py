"""A weight is verified by each proxy's newest report, whichever way it came and whatever the proxy's clock says."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.traffic import TrafficActivities
from hotswap.domain.proxies import Arms, RegisteredProxy, begun, counts_of
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Counts, ProxyReport, TrafficChange, TrafficPlan
from hotswap.domain.vocabulary import Environment
from hotswap.messages import SetWeight, VerifiedWeight, WithdrawCandidate
from tests.fixtures.patience import patient
from tests.fixtures.reports import live

NOW = 1_000_000.0
GENERATION = 20
STABLE, CANDIDATE = Arm("stable", "1.0.0", "dep-1"), Arm("candidate", "2.0.0", "dep-2")


class World:
    """PostgreSQL, Redis and Ray as far as a weight is verified by them."""

    def __init__(self, *, over_redis: ProxyReport, by_api: ProxyReport) -> None:
        self.over_redis, self.by_api = over_redis, by_api

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        return TrafficPlan(GENERATION)

    async def proxies(self) -> list[RegisteredProxy]:
        return live([self.over_redis, self.by_api])

    async def publish(self, plan: TrafficPlan) -> None:
        return None

    async def until_ready(self, needed: dict[str, int]) -> None:
        return None

    async def record_weight(self, deployment_id: str, **_: Any) -> None:
        return None


def said(generation: int, at: float, completed: int) -> ProxyReport:
    return ProxyReport("envoy-0", generation, at, {"candidate": Counts(completed=completed)})


@pytest.mark.parametrize("off", [0.0, -3_600.0, 3_600.0])
@pytest.mark.parametrize(
    ("over_redis", "by_api"),
    [
        pytest.param(said(GENERATION, NOW, 7), said(17, NOW - 9, 3), id="Redis is back"),
        pytest.param(said(GENERATION, NOW, 7), said(17, NOW + 3_600, 3), id="the clock was ahead while it was away"),
        pytest.param(said(17, NOW - 9, 3), said(GENERATION, NOW, 7), id="Redis is away"),
        pytest.param(said(17, NOW + 3_600, 3), said(GENERATION, NOW, 7), id="and the clock has been set back"),
        pytest.param(said(GENERATION, NOW, 7), said(GENERATION, NOW - 1, 3), id="of one generation the later one"),
    ],
)
async def test_the_newest_report_counts_whatever_the_clock_of_the_proxy_says(
    over_redis: ProxyReport, by_api: ProxyReport, off: float
) -> None:
    world: Any = World(over_redis=over_redis, by_api=by_api)
    activities = TrafficActivities(world, world, world, world, clock=lambda: NOW + off)
    change = TrafficChange(Environment.PRODUCTION, "m", "dep-2", 1, STABLE, CANDIDATE, TOTAL_WEIGHT // 2)
    async with asyncio.timeout(patient(20)):
        verified: VerifiedWeight = await ActivityEnvironment().run(
            activities.set_weight, SetWeight(change=change, share=TOTAL_WEIGHT // 2, progress=None, needs={})
        )
    assert verified.candidate.completed == 7


class Frozen(World):
    """A Redis that takes commands and says nothing, until it is thawed."""

    def __init__(self) -> None:
        super().__init__(over_redis=said(GENERATION, NOW, 7), by_api=said(GENERATION, NOW, 7))
        self.applied, self.thawed = asyncio.Event(), asyncio.Event()

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        self.applied.set()
        return await super().apply(change, run_id=run_id)

    async def proxies(self) -> list[RegisteredProxy]:
        await self.thawed.wait()
        return await super().proxies()

    async def at_a_glance(self, application: str, proxies: list[RegisteredProxy]) -> None:
        assert proxies == [], "nothing is known of the proxies yet"


async def test_a_rollback_takes_the_weight_away_while_redis_says_nothing() -> None:
    world: Any = Frozen()
    activities = TrafficActivities(world, world, world, world, clock=lambda: NOW)
    change = TrafficChange(Environment.PRODUCTION, "m", "dep-2", 1, STABLE, None, 0)
    going = asyncio.create_task(
        ActivityEnvironment().run(activities.withdraw_candidate, WithdrawCandidate(change=change, why=None))
    )
    async with asyncio.timeout(patient(20)):
        await world.applied.wait()
        assert not going.done(), "it is verified by the proxies' word alone"
        world.thawed.set()
        await going


class Lately(World):
    """A fleet in which another proxy reports for the first time while the first one still has a request in flight."""

    def __init__(self) -> None:
        self.looks = 0

    async def proxies(self) -> list[RegisteredProxy]:
        self.looks += 1
        is_busy = self.looks < 4
        first = replace(said(GENERATION, NOW + self.looks, 7), active={"candidate": int(is_busy)})
        other = replace(said(GENERATION, NOW + self.looks, 500), proxy="envoy-1", active={"candidate": 3})
        return live([first] if self.looks < 3 else [first, other])


async def test_what_a_new_proxy_counted_is_not_in_the_counts_of_those_that_confirmed() -> None:
    world: Any = Lately()
    activities = TrafficActivities(world, world, world, world, settle_seconds=patient(5))
    change = TrafficChange(Environment.PRODUCTION, "m", "dep-2", 1, STABLE, CANDIDATE, TOTAL_WEIGHT // 2)
    async with asyncio.timeout(patient(5)):
        verified: VerifiedWeight = await ActivityEnvironment().run(
            activities.set_weight, SetWeight(change=change, share=TOTAL_WEIGHT // 2, progress=None, settles=True)
        )
    assert world.looks >= 4, "it waited for the one that is in flight"
    assert (verified.proxies, verified.candidate.completed) == (("envoy-0",), 7)
    later = counts_of([each.report for each in await world.proxies()], candidate="candidate", stable="stable")
    baseline = Arms(verified.candidate, verified.stable)
    assert begun(later, baseline=baseline, proxies=verified.proxies) is not None, "else the step would see nothing"
