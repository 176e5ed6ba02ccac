"""What an observation takes from proxies and sources: counts of this step alone, by those who still report."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities import analysis
from activities.analysis import AnalysisActivities
from activities.observations import Sources
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, Observation, Reading, Source, Subject
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import ProxyReport
from hotswap.domain.verdict import Outcome, Verdict
from tests.fixtures.patience import patient
from tests.unit.activities.watching import Bus, Callers, Clock, Record, Seen, activities, step

pytestmark = pytest.mark.usefixtures("reads_again_at_once")


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

    def __init__(
        self, answered: Mapping[str, Sequence[int | None]], *, silent: tuple[str, ...] = (), off: float = 0.0
    ) -> None:
        super().__init__(0)
        self.fleet = {name: list(numbers) for name, numbers in answered.items()}
        self.silent = silent
        self.off = off

    async def reports(self) -> list[ProxyReport]:
        self.made += 1
        said = [(name, numbers.pop(0) if len(numbers) > 1 else numbers[0]) for name, numbers in self.fleet.items()]
        return [
            replace(self.report_of(name, number), reported_at=self.off + (self.made if name not in self.silent else 0))
            for name, number in said
            if number is not None
        ]


class Stopwatch:
    """Half a second passes with each glance at it."""

    now = 5.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


async def looked(bus: Bus, times: int, *, proxies: tuple[str, ...], baseline: int = 0) -> list[Observation]:
    sources = Sources(bus, {}, Callers(), clock=Clock(), stopwatch=Stopwatch())
    watch = step(baseline=baseline, verified_at=Clock.now - 5)
    verified = watch.baseline.model_copy(update={"proxies": proxies})
    async with sources.of(watch.subject, AnalysisPolicy(), verified) as looking:
        return [await looking.observe() for _ in range(times)]


@pytest.mark.parametrize("off", [0.0, -5.0, 60.0, -86_400.0])
@pytest.mark.parametrize(
    ("answered", "seen", "silent"),
    [
        pytest.param({"a": [60, 60, 70], "b": [50, 50, None]}, [100, 110], (), id="one leaves"),
        pytest.param(
            {"a": [60, 60, 70], "b": [50, 50, 55], "c": [None, None, 900, 903]}, [100, 115], (), id="one comes"
        ),
        pytest.param({"a": [60, 60, 70], "b": [50]}, [100, 110], ("b",), id="one is silent"),
        pytest.param({"a": [60, 60, 70], "b": [50, 50, 3]}, [100, 110], (), id="one begins anew"),
    ],
)
async def test_the_sums_of_a_changing_set_of_proxies_only_grow_whatever_their_clocks_say(
    answered: dict[str, list[int | None]], seen: list[int], silent: tuple[str, ...], off: float
) -> None:
    found = await looked(Fleet(answered, silent=silent, off=off), 2, proxies=("a", "b"), baseline=10)
    assert [look.candidate.completed for look in found] == seen
    assert [look.stable.completed for look in found] == seen
    assert [look.missing for look in found] == [silent, silent]


@pytest.mark.parametrize("off", [0.0, 1e6], ids=["right", "ahead"])
async def test_nothing_is_judged_while_no_proxy_is_heard(environment: ActivityEnvironment, off: float) -> None:
    bus = Fleet({"a": [500], "b": [500]}, silent=("a", "b"), off=off)
    sources = Sources(bus, {}, Callers(), clock=Clock(), stopwatch=Stopwatch())
    watching = AnalysisActivities(sources, Record(), StepJudging)
    verdict = await environment.run(watching.watch, step(baseline=0, verified_at=Clock.now - 5))
    assert (verdict.outcome, verdict.message) == (Outcome.INCONCLUSIVE, "no fresh counts from a, b")


async def test_a_verdict_names_the_proxies_that_it_was_made_without(environment: ActivityEnvironment) -> None:
    record, bus = Record(), Fleet({"envoy-0": [500], "envoy-1": [40], "envoy-2": [1]}, silent=("envoy-1", "envoy-2"))
    sources = Sources(bus, {}, Callers(), clock=Clock(), stopwatch=Stopwatch())
    verdict = await environment.run(
        AnalysisActivities(sources, record, StepJudging).watch, step(baseline=0, verified_at=Clock.now - 5)
    )
    assert (verdict.outcome, verdict.missing) == (Outcome.PASS, ("envoy-1", "envoy-2"))
    assert verdict.message.endswith("; judged without envoy-1, envoy-2, of which nothing was heard lately")
    assert [look.missing for _, look in record.looks] == [("envoy-1", "envoy-2")]


async def test_a_watch_that_starts_again_counts_on_from_what_each_proxy_had_counted(
    environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, verified_at = Record(), Clock.now - 5

    async def watched_by(answered: Mapping[str, Sequence[int]]) -> Verdict:
        watching = activities(Fleet(answered), record)
        return await environment.run(watching.watch, step(baseline=0, verified_at=verified_at))

    first = await watched_by({"envoy-0": [100], "envoy-1": [900]})
    assert first.candidate.requests == 100, "envoy-1 isn't one that confirmed, so nobody knows when it answered these"
    monkeypatch.setattr(Clock, "now", Clock.now + 1)
    again = await watched_by({"envoy-0": [130], "envoy-1": [907]})
    assert again.candidate.requests == 137


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
    monkeypatch.setattr(analysis, "observation_interval", lambda *_: 0.02)

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


@pytest.mark.parametrize(("source", "times"), [(Source.CONFIDENCE, 2), (Source.WEBHOOK, 11)])
async def test_a_slow_reading_of_records_is_made_more_rarely(
    monkeypatch: pytest.MonkeyPatch, source: Source, times: int
) -> None:
    """By a clock that only sleeps and readings move."""
    now, made = 0.0, 0

    class Slow:
        async def read(self, metric: Metric, subject: Subject) -> Reading:
            nonlocal now, made
            now, made = now + 3.0, made + 1
            return Reading(now)

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > 52:
            raise asyncio.CancelledError

    metric = Metric("m", source, JudgeName.THRESHOLD, interval_seconds=2.0)
    sources = Sources(Bus(0), {source: Slow()}, Callers(), clock=lambda: now, stopwatch=lambda: now)
    watch = step(baseline=0, verified_at=0.0)
    async with sources.of(watch.subject, AnalysisPolicy(), watch.baseline) as looking:
        monkeypatch.setattr("activities.observations.asyncio.sleep", sleep)
        with pytest.raises(asyncio.CancelledError):
            await looking.keep_reading(metric)
        monkeypatch.undo()
    assert made == times
