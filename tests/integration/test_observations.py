"""Looks and checkpoints on PostgreSQL: read a few at a time, the newest checkpoint of each, thinned when old."""

from datetime import UTC, datetime, timedelta

import pytest

from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import BakeRecord, Checkpoint, Observation, Reading
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.persistence.analysis import observations as module
from hotswap.persistence.analysis.observations import PostgresObservations
from hotswap.persistence.records.retention import let_go
from hotswap.schemas.strategy import CanaryConfig
from hotswap.settings import RetentionSettings
from tests.integration.api_world import ApiWorld
from tests.integration.test_explanation import deployed

BEGUN = 1_000.5
SAID = Verdict(Outcome.INCONCLUSIVE, "who knows")


def look(after: float) -> Observation:
    counts = Counts(completed=int(10 * after), latency={"5000": int(10 * after)})
    return Observation(BEGUN + after, counts, counts, {"accuracy": Reading(BEGUN + after, error="not yet")})


async def recorded(
    looks: PostgresObservations, deployment_id: str, *seen: Observation, begun_at: float = BEGUN
) -> None:
    for each in seen:
        await looks.record(deployment_id, BakeRecord(0, begun_at, 5_000, observations=(each,)), SAID)


async def test_looks_are_read_on_from_any_of_them(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    deployment_id, looks = await deployed(world), PostgresObservations(world.sessions)
    seen = [look(after) for after in (1, 2, 3.25, 4, 5, 6, 7)]
    await recorded(looks, deployment_id, *seen)
    await recorded(looks, deployment_id, look(99), begun_at=BEGUN + 90)
    assert await looks.past(deployment_id, step=0, begun_at=BEGUN, limit=2) == seen[:2]
    assert await looks.past(deployment_id, step=0, begun_at=BEGUN, after=seen[2].at, limit=3) == seen[3:6]
    assert await looks.past(deployment_id, step=0, begun_at=BEGUN, after=seen[-1].at, limit=3) == []
    assert [each.observations for each in await looks.bakes(deployment_id)] == [tuple(seen), (look(99),)]


async def test_the_newest_checkpoint_of_an_analysis_is_there_to_the_last_bit(world: ApiWorld) -> None:
    deployment_id, looks = await deployed(world), PostgresObservations(world.sessions)
    judging, again = (
        StepJudging(CanaryConfig().analysis_policy(), weight=5_000, reference=None, prior_evidence={}) for _ in range(2)
    )
    assert await looks.checkpoint(deployment_id, step=0, begun_at=BEGUN) is None
    for after in range(1, 5):
        judging.add(look(after))
        kept = Checkpoint(BEGUN + after, judging.folded())
        await looks.record(deployment_id, BakeRecord(0, BEGUN, 5_000, observations=(look(after),)), SAID, kept)
    await looks.record(deployment_id, BakeRecord(0, BEGUN, 5_000), SAID, Checkpoint(BEGUN + 2, b"of a frozen watch"))
    found = await looks.checkpoint(deployment_id, step=0, begun_at=BEGUN)
    assert found == kept
    assert again.resume(found.judges)
    assert again.verdict() == judging.verdict()
    assert await looks.checkpoint(deployment_id, step=0, begun_at=BEGUN + 1) is None


async def test_of_what_is_over_for_long_one_look_a_minute_is_left(world: ApiWorld) -> None:
    deployment_id, looks = await deployed(world), PostgresObservations(world.sessions)
    seen = [look(after) for after in (1, 2, 58, 60, 61, 119, 180, 181, 182)]
    await recorded(looks, deployment_id, *seen)
    await looks.record(deployment_id, BakeRecord(0, BEGUN, 5_000), SAID, Checkpoint(BEGUN + 182, b"whatever"))

    async def kept(*, days: int) -> tuple[list[float], bool]:
        await let_go(world.sessions, RetentionSettings(), now=datetime.now(UTC) + timedelta(days=days))
        (bake,) = await looks.bakes(deployment_id)
        return [each.at - BEGUN for each in bake.observations], bake.thinned

    assert await kept(days=29) == ([1, 2, 58, 60, 61, 119, 180, 181, 182], False)
    assert await kept(days=31) == ([2, 61, 119, 182], True), "the last of each minute of the clock"
    assert await kept(days=32) == ([2, 61, 119, 182], True)
    assert await looks.checkpoint(deployment_id, step=0, begun_at=BEGUN) is None
    again = await world.say(deployment_id, "replay", strategyConfig={})
    assert again.status_code == 200, again.text
    assert [step["thinned"] for step in again.json()["steps"]] == [True]
    assert await kept(days=399) == ([2, 61, 119, 182], True)
    assert await kept(days=401) == ([182], True), "the one that the verdict was made on"
    assert await kept(days=402) == ([182], True)
    again = await world.say(deployment_id, "replay", strategyConfig={})
    assert again.status_code == 200, again.text
    told = (await world.get(f"/api/v1/deployments/{deployment_id}/explain")).text
    assert SAID.message in told
