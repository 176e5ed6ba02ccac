"""Routes as rows: the newest fence wins, the same change changes nothing, generations are in order."""

import asyncio
import random
from itertools import pairwise

import pytest

from hotswap.domain.errors import StaleFence
from hotswap.domain.traffic import TrafficPlan
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from tests.fixtures.rows import (
    change,
    registered,
    weight_of,
)


async def test_the_newest_fence_wins(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)
    await plans.apply(change(1, 1_000), run_id="old")
    newer = await plans.apply(change(1, 2_000), run_id="new")
    with pytest.raises(StaleFence):
        await plans.apply(change(9, 9_000), run_id="old")
    with pytest.raises(StaleFence):
        await plans.apply(change(0, 9_000), run_id="new")
    assert weight_of(await plans.current()) == 2_000
    assert (await plans.current()).generation == newer.generation


async def test_the_same_change_again_changes_nothing(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)
    first = await plans.apply(change(1, 1_000), run_id="run")
    assert await plans.apply(change(1, 1_000), run_id="run") == first


async def test_a_removed_route_remembers_its_fence(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)
    await plans.apply(change(1, 1_000), run_id="old")
    gone = await plans.apply(change(1, stable=None), run_id="new")
    assert gone.routes == ()
    with pytest.raises(StaleFence):
        await plans.apply(change(2, 1_000), run_id="old")


async def test_a_candidates_failure_falls_back_unless_the_model_must_not_be_asked_twice(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)

    async def falls_back(sequence: int) -> bool:
        return (await plans.apply(change(sequence, 1_000), run_id="run")).routes[0].fallback

    await registered(sessions, "1.0.0")
    assert await falls_back(1)
    await registered(sessions, "1.1.0", idempotent=False)
    assert not await falls_back(2)
    await registered(sessions, "1.2.0")
    assert not await falls_back(3), "who says nothing changes nothing"


async def test_generations_are_totally_ordered_under_concurrency(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)
    draw = random.Random(11)
    changes = [(f"run-{run}", sequence) for run in range(4) for sequence in range(1, 6)]
    draw.shuffle(changes)

    async def one(run_id: str, sequence: int) -> TrafficPlan | None:
        try:
            return await plans.apply(change(sequence, 100 * sequence), run_id=run_id)
        except StaleFence:
            return None

    done = [plan for plan in await asyncio.gather(*(one(*each) for each in changes)) if plan is not None]
    by_generation = {plan.generation: plan for plan in done}
    assert sorted(by_generation) == list(range(1, len(by_generation) + 1))
    fences = [by_generation[generation].routes[0].fence for generation in sorted(by_generation)]
    assert all(later.is_newer_than(earlier) for earlier, later in pairwise(fences))
    assert (await plans.current()).routes[0].fence == fences[-1]
