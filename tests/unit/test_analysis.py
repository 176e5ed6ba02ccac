"""The watch's look: which counts it judges, and which it refuses to."""

import pytest
from temporalio.testing import ActivityEnvironment

from activities.analysis import AnalysisActivities
from activities.looking import Sources
from hotswap.analysis.judge import Judging
from hotswap.domain.analysis import Bake, Entities, Look, Subject
from hotswap.domain.traffic import FULL, Counts, ProxyReport
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import CanaryConfig, VerifiedWeight, Watch


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


def activities(bus: Bus, record: Record | None = None) -> AnalysisActivities:
    sources = Sources(bus, {}, Census(), clock=Clock())  # type: ignore[arg-type]
    return AnalysisActivities(sources, record or Record(), Judging)


def step(*, baseline: int, verified_at: float) -> Watch:
    counts = Counts(completed=baseline, latency={"1000": baseline})
    return Watch(
        subject=Subject("dep", "Production", "m", "candidate", "stable", "2.0.0", "1.0.0", FULL // 2, verified_at),
        step=0,
        baseline=VerifiedWeight(
            weight=FULL // 2, verified_at=verified_at, proxies=("envoy-0",), candidate=counts, stable=counts
        ),
        reference=None,
        policy=CanaryConfig(minimum_requests=10).analysis_policy(),
        bake_until=Clock.now,
        deadline=Clock.now,
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
