"""The watch's look: which counts it judges, and which it refuses to."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
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
    Checkpoint,
    Entities,
    JudgeName,
    Look,
    Metric,
    NoVerdict,
    Reading,
    Source,
    Subject,
)
from hotswap.domain.baking import look_interval
from hotswap.domain.concurrent import Concurrent
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import FULL, Counts, ProxyReport
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import CanaryConfig, VerifiedWeight, Watch
from hotswap.ports import Judge, Meter
from tests.fixtures.patience import patient


class Bus:
    """Each look finds one more of these numbers answered, and the last one for ever; the proxy reports all the time."""

    def __init__(self, *answered: int) -> None:
        self.answered = list(answered)
        self.made = 0

    async def reports(self) -> list[ProxyReport]:
        self.made += 1
        completed = self.answered.pop(0) if len(self.answered) > 1 and self.made > 1 else self.answered[0]
        return [self.report("envoy-0", completed)]

    def report(self, proxy: str, completed: int) -> ProxyReport:
        counts = Counts(completed=completed, latency={"1000": completed})
        return ProxyReport(proxy, 1, float(self.made), {"candidate": counts, "stable": counts})


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Record:
    def __init__(self, *looks: Look, begun_at: float = 0.0) -> None:
        self.looks = [(begun_at, look) for look in looks]
        self.checkpoints: dict[float, list[Checkpoint]] = {}

    async def record(
        self, deployment_id: str, bake: Bake, verdict: Verdict, checkpoint: Checkpoint | None = None
    ) -> None:
        self.looks += [(bake.begun_at, look) for look in bake.looks]
        if checkpoint is not None:
            self.checkpoints.setdefault(bake.begun_at, []).append(checkpoint)

    async def checkpoint(self, deployment_id: str, *, step: int, begun_at: float) -> Checkpoint | None:
        return self.checkpoints.get(begun_at, [None])[-1]

    async def past(
        self, deployment_id: str, *, step: int, begun_at: float, after: float | None = None, limit: int
    ) -> list[Look]:
        own = (look for begun, look in self.looks if begun == begun_at)
        return [look for look in own if after is None or look.at > after][:limit]


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


class Fleet(Bus):
    """Proxies by what each has answered by its first, second, … report; None where it isn't registered any more.

    A silent one repeats its report. Each has a clock of its own, so many seconds off.
    """

    def __init__(self, *, silent: tuple[str, ...] = (), off: float = 0.0, **answered: list[int | None]) -> None:
        super().__init__(0)
        self.fleet = answered
        self.silent = silent
        self.off = off

    async def reports(self) -> list[ProxyReport]:
        self.made += 1
        said = [(name, numbers.pop(0) if len(numbers) > 1 else numbers[0]) for name, numbers in self.fleet.items()]
        return [
            replace(self.report(name, number), reported_at=self.off + (self.made if name not in self.silent else 0))
            for name, number in said
            if number is not None
        ]


class Stopwatch:
    """Half a second passes with each glance at it."""

    now = 5.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


async def looked(bus: Bus, times: int, *, proxies: tuple[str, ...], baseline: int = 0) -> list[Look]:
    sources = Sources(bus, {}, Census(), clock=Clock(), stopwatch=Stopwatch())  # type: ignore[arg-type]
    watch = step(baseline=baseline, verified_at=Clock.now - 5)
    verified = watch.baseline.model_copy(update={"proxies": proxies})
    async with sources.of(watch.subject, AnalysisPolicy(), verified) as looking:
        return [await looking.look() for _ in range(times)]


@pytest.mark.parametrize("off", [0.0, -5.0, 60.0, -86_400.0])
@pytest.mark.parametrize(
    ("bus", "seen", "missing"),
    [
        pytest.param({"a": [60, 60, 70], "b": [50, 50, None]}, [100, 110], (), id="one leaves"),
        pytest.param(
            {"a": [60, 60, 70], "b": [50, 50, 55], "c": [None, None, 900, 903]}, [100, 115], (), id="one comes"
        ),
        pytest.param({"a": [60, 60, 70], "b": [50], "silent": ("b",)}, [100, 110], ("b",), id="one is silent"),
        pytest.param({"a": [60, 60, 70], "b": [50, 50, 3]}, [100, 110], (), id="one begins anew"),
    ],
)
async def test_the_sums_of_a_changing_set_of_proxies_only_grow_whatever_their_clocks_say(
    bus: dict[str, Any], seen: list[int], missing: tuple[str, ...], off: float
) -> None:
    fleet = Fleet(off=off, **{name: value if name == "silent" else list(value) for name, value in bus.items()})
    found = await looked(fleet, 2, proxies=("a", "b"), baseline=10)
    assert [look.candidate.completed for look in found] == seen
    assert [look.stable.completed for look in found] == seen
    assert [look.missing for look in found] == [missing, missing]


@pytest.mark.parametrize("off", [0.0, 1e6], ids=["right", "ahead"])
async def test_that_no_proxy_is_heard_is_never_judged(environment: ActivityEnvironment, off: float) -> None:
    bus = Fleet(a=[500], b=[500], silent=("a", "b"), off=off)
    sources = Sources(bus, {}, Census(), clock=Clock(), stopwatch=Stopwatch())  # type: ignore[arg-type]
    watching = AnalysisActivities(sources, Record(), Judging)
    verdict = await environment.run(watching.watch, step(baseline=0, verified_at=Clock.now - 5))
    assert (verdict.outcome, verdict.message) == (Outcome.INCONCLUSIVE, "no fresh counts from a, b")


async def test_a_verdict_names_the_proxies_that_it_was_made_without(environment: ActivityEnvironment) -> None:
    record, bus = Record(), Fleet(**{"envoy-0": [500], "envoy-1": [40], "envoy-2": [1]}, silent=("envoy-1", "envoy-2"))
    sources = Sources(bus, {}, Census(), clock=Clock(), stopwatch=Stopwatch())  # type: ignore[arg-type]
    verdict = await environment.run(
        AnalysisActivities(sources, record, Judging).watch, step(baseline=0, verified_at=Clock.now - 5)
    )
    assert (verdict.outcome, verdict.missing) == (Outcome.PASS, ("envoy-1", "envoy-2"))
    assert verdict.message.endswith("; judged without envoy-1, envoy-2, of which nothing was heard lately")
    assert [look.missing for _, look in record.looks] == [("envoy-1", "envoy-2")]


async def test_a_watch_that_starts_again_counts_on_from_what_each_proxy_had_counted(
    environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, verified_at = Record(), Clock.now - 5

    async def watched_by(**answered: list[int | None]) -> Verdict:
        watching = activities(Fleet(**answered), record)
        return await environment.run(watching.watch, step(baseline=0, verified_at=verified_at))

    first = await watched_by(**{"envoy-0": [100], "envoy-1": [900]})
    assert first.candidate.requests == 100, "envoy-1 isn't one that confirmed, so nobody knows when it answered these"
    monkeypatch.setattr(Clock, "now", Clock.now + 1)
    again = await watched_by(**{"envoy-0": [130], "envoy-1": [907]})
    assert again.candidate.requests == 137


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


def long_ago(number: int) -> list[Look]:
    """Looks a second apart from then on, at which the stable's answers are as slow as the candidate's."""
    return [Look(BEGUN + at, counts, counts) for at in range(1, number + 1) for counts in [seen(at)]]


def seen(second: int) -> Counts:
    return Counts(completed=10 * second, latency={"1000": 7 * second, "9000": 3 * second})


def held(lasts: float = 0.0) -> Watch:
    return step(baseline=0, verified_at=BEGUN, lasts=lasts)


class Turns:
    """Judges as the product does, and counts how many looks are added before others of the event loop have a turn."""

    def __init__(self) -> None:
        self.added: list[int] = [0]
        self.judging: Judging | None = None

    def judge(self, *args: Any, **given: Any) -> "Turns":
        self.judging = Judging(*args, **given)
        return self

    async def take(self) -> None:
        while True:
            self.added.append(0)
            await asyncio.sleep(0)

    def add(self, look: Look) -> None:
        self.added[-1] += 1
        self.judging.add(look)  # type: ignore[union-attr]

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
    whole = Judging(held().policy, weight=FULL // 2, reference=None, prior_evidence={})
    for _, look in record.looks:
        whole.add(look)
    assert verdict == whole.verdict(is_over=True)


@pytest.mark.slow
async def test_a_watch_that_starts_again_folds_only_what_came_after_the_checkpoint(
    environment: ActivityEnvironment,
) -> None:
    before = Judging(held().policy, weight=FULL // 2, reference=None, prior_evidence={})
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

    monkeypatch.setattr(analysis, "look_interval", lambda *_: 0.001)
    record, clock = Record(), Ticking()
    watching = AnalysisActivities(Sources(Live(100), {}, Census(), clock=clock), record, Judging)  # type: ignore[arg-type]
    async with asyncio.timeout(patient(20)):
        await environment.run(watching.watch, step(baseline=0, verified_at=Clock.now - 5, metrics=(), lasts=100))
    (kept,) = record.checkpoints.values()
    looks = [look.at for _, look in record.looks]
    assert len(looks) > 40
    assert kept[0].at == looks[0]
    assert all(10 <= later.at - earlier.at < 15 for earlier, later in pairwise(kept))
    assert {each.at for each in kept} <= set(looks)


@pytest.mark.parametrize(
    ("lasted", "intervals", "pause"),
    [
        (0, [5], 1),
        (600, [5], 1),
        (1_200, [5], 2),
        (3_000, [], 5),
        (86_400, [5, 60], 5),
        (86_400, [5, 2], 2),
        (86_400, [1], 1),
    ],
)
def test_looks_become_rarer_the_longer_it_lasts_but_not_than_a_threshold_is_read(
    lasted: float, intervals: list[float], pause: float
) -> None:
    policy = AnalysisPolicy(
        tuple(Metric("queue", Source.PROMETHEUS, JudgeName.THRESHOLD, interval_seconds=each) for each in intervals)
    )
    assert look_interval(lasted, policy) == pause


def test_a_day_of_a_hold_is_a_fifth_of_the_looks_of_one_a_second() -> None:
    at, number, policy = 0.0, 0, CanaryConfig().analysis_policy()
    while at < 86_400:
        at, number = at + look_interval(at, policy), number + 1
    assert number < 86_400 / 4.5


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
    monkeypatch.setattr(analysis, "look_interval", lambda *_: 0.02)

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

    @property
    def last(self) -> Look | None:
        return self.looks[-1] if self.looks else None

    @property
    def concurrent(self) -> Concurrent | None:
        return next((look.concurrent for look in reversed(self.looks) if look.concurrent is not None), None)

    def folded(self) -> bytes:
        return b""

    def resume(self, folded: bytes) -> bool:
        return False

    def add(self, look: Look) -> None:
        self.looks.append(look)

    def verdict(self, *, is_over: bool = False) -> Verdict:
        is_seen = any(self._until(look) for look in self.looks)
        return self._verdict if is_seen else Verdict(Outcome.INSUFFICIENT_DATA, "not yet")
