"""Who reports as which proxy, and for how long a proxy has been silent, by the clock of the store."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest
from redis.asyncio import Redis

from hotswap.domain import proxies as rules
from hotswap.domain.errors import ProxyNameTaken, Unavailable
from hotswap.domain.traffic import ProxyReport, TrafficPlan
from hotswap.traffic.bus import LEASES, PLAN, REPORTS, RedisTrafficBus, decode_plan

REPORT = ProxyReport("envoy-0", 7, 1_000.0, incarnation="a")


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url) as client:
        yield client


async def published(redis: Redis) -> TrafficPlan:
    plan = await redis.get(PLAN)
    assert plan is not None
    return decode_plan(plan)


async def silent_for(bus: RedisTrafficBus) -> float:
    [found] = await bus.proxies()
    return found.silent_for


async def pass_time(redis: Redis, seconds: float) -> None:
    """Let all leases be so many seconds older."""
    for proxy, lease in (await redis.hgetall(LEASES)).items():
        holder, _, renewed = os.fsdecode(lease).partition(" ")
        at, bar, content = renewed.partition("|")
        await redis.hset(LEASES, proxy, f"{holder} {float(at) - seconds:.6f}{bar}{content}")


async def test_a_second_proxy_of_one_name_is_refused_while_the_first_ones_lease_runs(
    bus: RedisTrafficBus, redis: Redis
) -> None:
    second = replace(REPORT, incarnation="b", generation=9)
    await bus.report(REPORT)
    with pytest.raises(ProxyNameTaken, match=r"another proxy reports as envoy-0.*HOTSWAP_AGENT__PROXY"):
        await bus.report(second)
    await bus.report(replace(REPORT, generation=8))
    [found] = await bus.proxies()
    assert (found.report.generation, found.report.incarnation) == (8, "a")
    await pass_time(redis, rules.LEASE_SECONDS + 0.5)
    await bus.report(second)
    [found] = await bus.proxies()
    assert found.report == second
    with pytest.raises(ProxyNameTaken):
        await bus.report(REPORT)


async def test_a_restarted_agent_goes_on_under_its_name_at_once(bus: RedisTrafficBus) -> None:
    for _ in range(2):
        await bus.report(REPORT)
    assert [each.report for each in await bus.proxies()] == [REPORT]


async def test_silence_is_measured_by_redis_and_no_clock_of_an_agent_counts(bus: RedisTrafficBus, redis: Redis) -> None:
    await bus.report(replace(REPORT, reported_at=0.0))
    assert await silent_for(bus) < rules.LEASE_SECONDS
    await pass_time(redis, 700)
    assert 700 <= await silent_for(bus) < 710
    await bus.report(replace(REPORT, reported_at=9e9))
    assert await silent_for(bus) < rules.LEASE_SECONDS


async def test_a_clock_of_redis_that_was_set_back_keeps_nobody_out(bus: RedisTrafficBus, redis: Redis) -> None:
    await bus.report(REPORT)
    await pass_time(redis, -3_600)
    assert await silent_for(bus) == 0
    await bus.report(replace(REPORT, incarnation="b"))


async def test_an_agent_of_a_release_without_leases_renews_by_each_report(bus: RedisTrafficBus, redis: Redis) -> None:
    def told(at: float) -> bytes:
        report = msgspec.to_builtins(ProxyReport("envoy-0", 7, at))
        for field in ("lineage", "incarnation", "environments"):
            del report[field]
        return msgspec.json.encode(report)

    await bus.report(REPORT)
    await redis.hset(REPORTS, "envoy-0", told(1.0))
    assert await silent_for(bus) < rules.LEASE_SECONDS
    await pass_time(redis, 700)
    assert await silent_for(bus) >= 700, "the same report again is none"
    await redis.hset(REPORTS, "envoy-0", told(2.0))
    assert await silent_for(bus) < rules.LEASE_SECONDS
    await bus.report(REPORT)
    [found] = await bus.proxies()
    assert found.report == REPORT, "and it can be upgraded at once"


async def test_only_the_holder_of_a_name_or_a_person_removes_a_proxy(bus: RedisTrafficBus) -> None:
    await bus.report(REPORT)
    assert not await bus.remove_proxy("envoy-0", incarnation="b")
    assert await bus.remove_proxy("envoy-0", incarnation="a")
    await bus.report(REPORT)
    assert await bus.remove_proxy("envoy-0")
    assert not await bus.remove_proxy("envoy-0")
    assert await bus.proxies() == []
    await bus.report(replace(REPORT, incarnation="b"))


async def test_the_newest_lineage_wins_and_in_it_the_newest_generation(bus: RedisTrafficBus, redis: Redis) -> None:
    for lineage, generation, expected in (
        (0, 150, (0, 150)),
        (1, 51, (1, 51)),
        (0, 151, (1, 51)),
        (1, 50, (1, 51)),
        (1, 52, (1, 52)),
    ):
        await bus.publish(TrafficPlan(generation, lineage=lineage, installation="ours"))
        plan = await published(redis)
        assert (plan.lineage, plan.generation) == expected


async def test_the_plan_of_another_installation_is_never_replaced(bus: RedisTrafficBus, redis: Redis) -> None:
    await bus.publish(TrafficPlan(3))
    await bus.publish(TrafficPlan(4, installation="ours"))
    with pytest.raises(Unavailable, match=r"another installation \(ours\).*HOTSWAP_REDIS__URL"):
        await bus.publish(TrafficPlan(99, lineage=9, installation="theirs"))
    assert (await published(redis)).generation == 4


async def test_a_lease_that_redis_forgets_begins_anew(bus: RedisTrafficBus, redis: Redis) -> None:
    await bus.report(REPORT)
    await redis.delete(LEASES)
    assert await silent_for(bus) < rules.LEASE_SECONDS
    await bus.report(REPORT)
    assert [each.report for each in await bus.proxies()] == [REPORT]
