"""The watch: what it keeps for the one after it, and what that one folds anew."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import analysis
from activities.analysis import AnalysisActivities
from activities.observations import Sources
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import Checkpoint, NoVerdict, Observation
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts, ProxyReport
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import Watch
from tests.fixtures.patience import patient
from tests.unit.activities.watching import Bus, Callers, Clock, Record, Seen, activities, step


async def test_what_a_killed_watch_saw_is_judged_with_what_the_next_one_sees(environment: ActivityEnvironment) -> None:
    record, seen = Record(), Seen()
    first = activities(Bus(100), record, judge=seen.judge)
    await environment.run(first.watch, step(baseline=0, verified_at=Clock.now - 5))
    again = activities(Bus(160), record, judge=(after := Seen()).judge)
    await environment.run(again.watch, step(baseline=0, verified_at=Clock.now - 5))
    assert [look.candidate.completed for look in seen.looks] == [100]
    assert [look.candidate.completed for look in after.looks] == [100, 160]
    other = activities(Bus(170), record, judge=(elsewhere := Seen()).judge)
    await environment.run(other.watch, step(baseline=0, verified_at=Clock.now - 4))
    assert [look.candidate.completed for look in elsewhere.looks] == [170], "another analysis of the step is another"


BEGUN = Clock.now - 20_000.0
"""When the weight of a long hold was verified, whose watch starts again now."""


def long_ago(number: int) -> list[Observation]:
    """Observations a second apart from then on, at which the stable's answers are as slow as the candidate's."""
    return [Observation(BEGUN + at, counts, counts) for at in range(1, number + 1) for counts in [seen(at)]]


def seen(second: int) -> Counts:
    return Counts(completed=10 * second, latency={"1000": 7 * second, "9000": 3 * second})


def held(lasts: float = 0.0) -> Watch:
    return step(baseline=0, verified_at=BEGUN, lasts=lasts)


class Turns:
    """Judges as the product does, and counts what is added before others of the event loop have a turn."""

    def __init__(self) -> None:
        self.added: list[int] = [0]
        self.judging: StepJudging | None = None

    def judge(self, *args: Any, **given: Any) -> "Turns":
        self.judging = StepJudging(*args, **given)
        return self

    async def take(self) -> None:
        while True:
            self.added.append(0)
            await asyncio.sleep(0)

    def add(self, look: Observation) -> None:
        self.added[-1] += 1
        assert self.judging is not None
        self.judging.add(look)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.judging, name)


async def watched(environment: ActivityEnvironment, record: Record, watch: Watch) -> tuple[Verdict, Turns]:
    turns = Turns()
    others = asyncio.create_task(turns.take())
    verdict = await environment.run(activities(Bus(10**6), record, judge=turns.judge).watch, watch)
    others.cancel()
    return verdict, turns


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", [None, Checkpoint(BEGUN + 9_000, b"of another version")], ids=["none", "other"])
async def test_a_hold_of_hours_is_folded_anew_a_few_looks_at_a_time(
    environment: ActivityEnvironment, checkpoint: Checkpoint | None
) -> None:
    record = Record(*long_ago(1_050), begun_at=BEGUN)
    record.checkpoints = {BEGUN: [checkpoint]} if checkpoint is not None else {}
    verdict, turns = await watched(environment, record, held())
    assert sum(turns.added) == 1_051
    assert max(turns.added) <= analysis.SLICE
    whole = StepJudging(held().policy, weight=TOTAL_WEIGHT // 2, reference=None, prior_evidence={})
    for _, look in record.looks:
        whole.add(look)
    assert verdict == whole.verdict(is_over=True)


@pytest.mark.slow
async def test_a_watch_that_starts_again_folds_only_what_came_after_the_checkpoint(
    environment: ActivityEnvironment,
) -> None:
    before = StepJudging(held().policy, weight=TOTAL_WEIGHT // 2, reference=None, prior_evidence={})
    looks = long_ago(1_050)
    for look in looks[:-8]:
        before.add(look)
    record = Record(*looks, begun_at=BEGUN)
    record.checkpoints = {BEGUN: [Checkpoint(looks[-9].at, before.folded())]}
    verdict, turns = await watched(environment, record, held())
    assert sum(turns.added) == 8 + 1
    whole, _ = await watched(environment, Record(*looks, begun_at=BEGUN), held())
    assert verdict == whole


async def test_a_checkpoint_is_kept_every_few_seconds_and_no_look_is_missing_after_it(
    environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ticking(Clock):
        def __call__(self) -> float:
            self.now += 0.5
            return self.now

    class Live(Bus):
        async def reports(self) -> list[ProxyReport]:
            return [replace(each, reported_at=clock.now) for each in await super().reports()]

    monkeypatch.setattr(analysis, "observation_interval", lambda *_: 0.001)
    record, clock = Record(), Ticking()
    watching = AnalysisActivities(Sources(Live(100), {}, Callers(), clock=clock), record, StepJudging)
    async with asyncio.timeout(patient(20)):
        await environment.run(watching.watch, step(baseline=0, verified_at=Clock.now - 5, metrics=(), lasts=100))
    (kept,) = record.checkpoints.values()
    looks = [look.at for _, look in record.looks]
    assert len(looks) > 40
    assert kept[0].at == looks[0]
    assert all(10 <= later.at - earlier.at < 15 for earlier, later in pairwise(kept))
    assert {each.at for each in kept} <= set(looks)


@pytest.mark.parametrize("action", [NoVerdict.HOLD, NoVerdict.ROLLBACK])
async def test_a_bake_whose_metric_says_so_is_not_extended(environment: ActivityEnvironment, action: NoVerdict) -> None:
    said = Verdict(Outcome.INCONCLUSIVE, "who knows", action=action)
    watching = activities(Bus(100), judge=Seen(verdict=said).judge)
    async with asyncio.timeout(patient(20)):
        assert await environment.run(watching.watch, step(baseline=0, verified_at=Clock.now - 5, lasts=600)) == said


@pytest.mark.parametrize("extends", [True, False], ids=["bake", "hold"])
async def test_what_is_no_more_than_chance_passes_at_the_deadline_of_a_bake(
    environment: ActivityEnvironment, extends: bool
) -> None:
    said = Verdict(Outcome.INCONCLUSIVE, "2% more failed", is_chance=True)
    watching = activities(Bus(100), judge=Seen(verdict=said).judge)
    watch = step(baseline=0, verified_at=Clock.now - 5).model_copy(update={"extends": extends})
    async with asyncio.timeout(patient(20)):
        verdict: Verdict = await environment.run(watching.watch, watch)
    assert verdict.outcome is (Outcome.PASS if extends else Outcome.INCONCLUSIVE)


async def test_a_deadline_at_which_nothing_can_be_seen_passes_nothing(environment: ActivityEnvironment) -> None:
    class Silent(Bus):
        async def reports(self) -> list[ProxyReport]:
            raise Unavailable("Redis doesn't answer")

    said = Verdict(Outcome.INCONCLUSIVE, "2% more failed", is_chance=True)
    watching = activities(Silent(100), judge=Seen(verdict=said).judge)
    async with asyncio.timeout(patient(20)):
        verdict: Verdict = await environment.run(
            watching.watch, step(baseline=0, verified_at=Clock.now - 5).model_copy(update={"extends": True})
        )
    assert verdict.outcome is Outcome.INCONCLUSIVE
