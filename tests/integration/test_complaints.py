"""What people suffer from elsewhere (docs/complaints.md), where it is the proxies that must not do it."""

import asyncio

import pytest
from scipy.stats import binom

from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.envoy import Gateway
from tests.fixtures.traffic import CANDIDATE, STABLE, answered_by, plan

ENTITIES = 80


@pytest.mark.usefixtures("upstreams")
async def test_entities_move_to_the_candidate_as_it_grows_and_back_only_by_a_rollback(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    async def with_candidate() -> set[int]:
        answers = await asyncio.gather(
            *(gateway.infer("fraud", x_entity_id=f"entity-{number}") for number in range(ENTITIES))
        )
        return {number for number, answer in enumerate(answers) if answer.headers["x-hotswap-arm"] == "candidate"}

    async with gateway.agent():
        before: set[int] = set()
        for generation, percent in enumerate((10, 30, 60, 90), start=1):
            await gateway.publish(bus, plan(generation, percent * 100))
            found = [await with_candidate() for _ in range(2)]
            assert found[0] == found[1], "time alone moves nobody"
            assert before < found[0], "who was there stays there"
            low, high = binom.interval(0.99999, ENTITIES, percent / 100)
            assert low <= len(found[0]) <= high, "nor does everybody drift there"
            before = found[0]
        await gateway.publish(bus, plan(5, TOTAL_WEIGHT))
        assert await with_candidate() == set(range(ENTITIES))
        await gateway.publish(bus, plan(6, None))
        assert await with_candidate() == set()


@pytest.mark.soak
@pytest.mark.usefixtures("upstreams")
async def test_half_a_percent_is_half_a_percent(gateway: Gateway, bus: RedisTrafficBus) -> None:
    """Neither nothing nor a whole percent, of which so many requests would see twice as many."""
    requests, weight = 4_500, 50
    async with gateway.agent():
        await gateway.publish(bus, plan(1, weight))
        split = await answered_by(gateway, requests)
    low, high = binom.interval(0.9999, requests, weight / TOTAL_WEIGHT)
    assert 0 < low <= split[CANDIDATE.application] <= high < requests / 100


@pytest.mark.usefixtures("upstreams")
async def test_100_to_0_leaves_the_other_nothing(gateway: Gateway, bus: RedisTrafficBus) -> None:
    async with gateway.agent():
        for generation, (weight, arm) in enumerate([(0, STABLE), (TOTAL_WEIGHT, CANDIDATE), (0, STABLE)], start=1):
            await gateway.publish(bus, plan(generation, weight))
            assert await answered_by(gateway, 400) == {arm.application: 400}
