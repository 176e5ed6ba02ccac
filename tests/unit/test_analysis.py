"""The watch's look: which counts it judges, and which it refuses to."""

from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.analysis import AnalysisActivities
from hotswap.analysis.judge import judge
from hotswap.domain.strategy import Thresholds
from hotswap.domain.traffic import FULL, Counts, ProxyReport
from hotswap.domain.verdict import Outcome
from hotswap.messages import VerifiedWeight, Watch


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


class Rows:
    async def record_verdict(self, deployment_id: str, *, step: int, verdict: dict[str, Any]) -> None:
        self.verdict = verdict


def step(*, baseline: int, verified_at: float) -> Watch:
    counts = Counts(completed=baseline, latency={"1000": baseline})
    return Watch(
        deployment_id="dep",
        step=0,
        weight=FULL // 2,
        candidate="candidate",
        stable="stable",
        baseline=VerifiedWeight(
            weight=FULL // 2, verified_at=verified_at, proxies=("envoy-0",), candidate=counts, stable=counts
        ),
        reference=None,
        prior_log_evidence=0.0,
        minimum_requests=10,
        thresholds=Thresholds(error_rate_increase=0.01, latency_increase=1.5),
        bake_until=Clock.now,
        deadline=Clock.now,
    )


@pytest.fixture
def environment() -> ActivityEnvironment:
    return ActivityEnvironment()


async def test_a_reading_from_before_the_step_is_not_shared_with_it(environment: ActivityEnvironment) -> None:
    activities = AnalysisActivities(Bus(100, 150), Rows(), judge, clock=Clock())  # type: ignore[arg-type]
    earlier = await environment.run(activities.watch, step(baseline=0, verified_at=Clock.now - 5))
    assert earlier.candidate.requests == 100
    later = await environment.run(activities.watch, step(baseline=110, verified_at=Clock.now + 0.1))
    assert (later.outcome, later.candidate.requests) == (Outcome.PASS, 40)


async def test_counts_that_shrank_are_never_judged(environment: ActivityEnvironment) -> None:
    activities = AnalysisActivities(Bus(100), Rows(), judge, clock=Clock())  # type: ignore[arg-type]
    verdict = await environment.run(activities.watch, step(baseline=110, verified_at=Clock.now - 5))
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "before" in verdict.message
