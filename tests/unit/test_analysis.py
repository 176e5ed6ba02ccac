"""The watch's look: which counts it judges, and which it refuses to."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import analysis
from activities.analysis import AnalysisActivities
from activities.looking import Sources
from hotswap.analysis.judge import Judging
from hotswap.domain.analysis import (
    AnalysisPolicy,
    Bake,
    Entities,
    JudgeName,
    Look,
    Metric,
    NoVerdict,
    Reading,
    Source,
    Subject,
)
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import FULL, Counts, ProxyReport
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import CanaryConfig, VerifiedWeight, Watch
from hotswap.ports import Judge, Meter
from tests.fixtures.patience import patient


class Bus:
    """Answers one report after the other, and the last one for ever."""

    def __init__(self, *answered: int) -> None:
        self.answered = list(answered)

    async def reports(self) -> list[ProxyReport]:
        completed = self.answered.pop(0) if len(self.answered) > 1 else self.answered[0]
        counts = Counts(completed=completed, latency={"1000": completed})
        return [ProxyReport("envoy-0", 1, Clock.now, {"candidate": counts, "stable": counts})]


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Record:
    def __init__(self, *looks: Look) -> None:
        self.looks = [(0.0, look) for look in looks]

    async def record(self, deployment_id: str, bake: Bake, verdict: Verdict) -> None:
        self.looks += [(bake.begun_at, look) for look in bake.looks]

    async def past(self, deployment_id: str, *, step: int, begun_at: float) -> list[Look]:
        return [look for begun, look in self.looks if begun == begun_at]


class Census:
    async def entities(self, subject: Subject) -> Entities:
        return Entities()


def activities(
    bus: Bus, record: Record | None = None, *, judge: Judge = Judging, meter: Meter | None = None
) -> AnalysisActivities:
    meters = {Source.CONFIDENCE: meter} if meter is not None else {}
    sources = Sources(bus, meters, Census(), clock=Clock())  # type: ignore[arg-type]
    return AnalysisActivities(sources, record or Record(), judge)


def step(*, baseline: int, verified_at: float, metrics: tuple[Metric, ...] | None = None, lasts: float = 0.0) -> Watch:
    counts = Counts(completed=baseline, latency={"1000": baseline})
    return Watch(
        subject=Subject("dep", "Production", "m", "candidate", "stable", "2.0.0", "1.0.0", FULL // 2, verified_at),
        step=0,
        baseline=VerifiedWeight(
            weight=FULL // 2, verified_at=verified_at, proxies=("envoy-0",), candidate=counts, stable=counts
        ),
        reference=None,
        policy=CanaryConfig(minimum_requests=10).analysis_policy() if metrics is None else AnalysisPolicy(metrics),
        bake_until=Clock.now,
        deadline=Clock.now + lasts,
    )


@pytest.fixture
def environment() -> ActivityEnvironment:
    return ActivityEnvironment()


async def test_a_reading_from_before_the_step_is_not_shared_with_it(environment: ActivityEnvironment) -> None:
    watching = activities(Bus(100, 150))
    earlier = await environment.run(watching.watch, step(baseline=0, verified_at=Clock.now - 5))
    assert earlier.candidate.requests == 100
    later = await environment.run(watching.watch, step(baseline=110, verified_at=Clock.now + 0.1))
    assert (later.outcome, later.candidate.requests) == (Outcome.PASS, 40)


async def test_counts_that_shrank_are_never_judged(environment: ActivityEnvironment) -> None:
    watching = activities(Bus(100))
    verdict = await environment.run(watching.watch, step(baseline=110, verified_at=Clock.now - 5))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "before" in verdict.message


async def test_what_a_proxy_has_answered_stays_answered_when_it_leaves() -> None:
    def report(proxy: str, completed: int) -> ProxyReport:
        counts = Counts(completed=completed, latency={"1000": completed})
        return ProxyReport(proxy, 1, Clock.now, {"candidate": counts, "stable": counts})

    class Leaving(Bus):
        async def reports(self) -> list[ProxyReport]:
            number = self.answered.pop(0)
            return [report("envoy-0", number), *([report("envoy-1", 50)] if number == 60 else [])]

    class Ticking(Clock):
        def __call__(self) -> float:
            self.now += 0.6
            return self.now

    sources = Sources(Leaving(60, 70), {}, Census(), clock=Ticking())  # type: ignore[arg-type]
    watch = step(baseline=10, verified_at=Clock.now - 5)
    async with sources.of(watch.subject, AnalysisPolicy(), watch.baseline) as looking:
        seen = [(await looking.look()).candidate.completed for _ in range(2)]
    assert seen == [100, 110]


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


CONFIDENCE = Metric("confidence", Source.CONFIDENCE, JudgeName.MEAN, timeout_seconds=0.05, interval_seconds=0.05)


async def away(metric: Metric, subject: Subject) -> Reading:
    raise Unavailable("the database does not answer")


async def broken(metric: Metric, subject: Subject) -> Reading:
    raise ZeroDivisionError("secret in a message")


async def slow(metric: Metric, subject: Subject) -> Reading:
    await asyncio.sleep(60)
    raise AssertionError("it was given up")


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (away, "the database does not answer"),
        (broken, "confidence failed: ZeroDivisionError"),
        (slow, "confidence gave no answer within 0.05 s"),
        (None, "nothing here reads confidence"),
    ],
)
async def test_a_source_that_fails_is_an_error_and_holds_up_nothing(
    environment: ActivityEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    read: Callable[[Metric, Subject], Any] | None,
    error: str,
) -> None:
    monkeypatch.setattr(analysis, "LOOK_SECONDS", 0.02)

    class Broken:
        async def read(self, metric: Metric, subject: Subject) -> Reading:
            assert read is not None
            answer: Reading = await read(metric, subject)
            return answer

    seen = Seen(until=lambda look: "confidence" in look.readings)
    watching = activities(Bus(100), judge=seen.judge, meter=Broken() if read is not None else None)
    async with asyncio.timeout(patient(20)):
        await environment.run(
            watching.watch, step(baseline=0, verified_at=Clock.now - 5, metrics=(CONFIDENCE,), lasts=60)
        )
    assert seen.looks[-1].readings["confidence"].error == error


@pytest.mark.parametrize("action", [NoVerdict.HOLD, NoVerdict.ROLLBACK])
async def test_a_bake_whose_metric_says_so_is_not_extended(environment: ActivityEnvironment, action: NoVerdict) -> None:
    said = Verdict(Outcome.INCONCLUSIVE, "who knows", action=action)
    watching = activities(Bus(100), judge=Seen(verdict=said).judge)
    async with asyncio.timeout(patient(20)):
        assert await environment.run(watching.watch, step(baseline=0, verified_at=Clock.now - 5, lasts=600)) == said


class Seen:
    """A judge that notes what it is shown; it passes, or when `until` is given, once it has seen that."""

    def __init__(self, *, verdict: Verdict | None = None, until: Callable[[Look], bool] = lambda _: True) -> None:
        self.looks: list[Look] = []
        self._verdict = verdict or Verdict(Outcome.PASS, "fine")
        self._until = until

    def judge(self, *_: Any, **__: Any) -> "Seen":
        return self

    def add(self, look: Look) -> None:
        self.looks.append(look)

    def verdict(self, *, is_over: bool = False) -> Verdict:
        is_seen = any(self._until(look) for look in self.looks)
        return self._verdict if is_seen else Verdict(Outcome.INSUFFICIENT_DATA, "not yet")
