"""The watch beside a bake: judges the candidate every second, and returns early on harm.

It is stateless: each look computes everything from cumulative counts against the baseline that the verified weight came
with, so a killed worker loses nothing and a frozen one harms nothing. It never decides: the workflow's policy does.
Missing or stale counts are never a pass.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from temporalio import activity

from activities.acting import acting, note
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import ProxyReport, total_counts
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import Watch
from hotswap.ports import Deployments, Judge, TrafficBus

LOOK_SECONDS = 1.0
STALE_SECONDS = 5.0


class SharedReports:
    """One reader of the proxies' reports for all watches of a worker: a thousand of them ask Redis no more than one."""

    def __init__(self, bus: TrafficBus, *, clock: Callable[[], float], max_age: float = LOOK_SECONDS / 2) -> None:
        self._bus = bus
        self._clock = clock
        self._max_age = max_age
        self._lock = asyncio.Lock()
        self._reports: list[ProxyReport] = []
        self._read_at = float("-inf")

    async def latest(self, *, since: float) -> list[ProxyReport]:
        """Read at `since` (Unix time) or later."""
        async with self._lock:
            if self._read_at < since or self._clock() - self._read_at > self._max_age:
                self._reports = await self._bus.reports()
                self._read_at = self._clock()
            return self._reports


class AnalysisActivities:
    def __init__(
        self, bus: TrafficBus, deployments: Deployments, judge: Judge, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._reports = SharedReports(bus, clock=clock)
        self._judge = judge
        self._deployments = deployments
        self._clock = clock

    @activity.defn
    @acting
    async def watch(self, step: Watch) -> Verdict:
        """Return on harm, at the end of the bake when it passes, or at the deadline with what is known by then."""
        recorded: Verdict | None = None
        while True:
            verdict = await self._look(step)
            if verdict != recorded:
                await self._deployments.record_verdict(step.deployment_id, step=step.step, verdict=asdict(verdict))
                recorded = verdict
            now = self._clock()
            passed = verdict.outcome is Outcome.PASS and now >= step.bake_until
            if verdict.outcome is Outcome.HARM or passed or now >= step.deadline:
                return verdict
            note(f"{verdict.outcome}: {verdict.message}")
            upcoming = (until for until in (step.bake_until, step.deadline) if until > now)
            await asyncio.sleep(min(LOOK_SECONDS, *(until - now for until in upcoming)))

    async def _look(self, step: Watch) -> Verdict:
        try:
            reports = await self._reports.latest(since=step.baseline.verified_at)
        except Unavailable as error:
            return _nothing(step, f"the proxies' counts can't be read: {error.message}")
        oldest = min((report.reported_at for report in reports), default=float("-inf"))
        if self._clock() - oldest > STALE_SECONDS:
            late = [report.proxy for report in reports if self._clock() - report.reported_at > STALE_SECONDS]
            return _nothing(step, f"no fresh counts from {', '.join(late) or 'any proxy'}")
        candidate = total_counts(reports, step.candidate) - step.baseline.candidate
        stable = total_counts(reports, step.stable) - step.baseline.stable
        if min(candidate.completed, stable.completed) < 0:
            return _nothing(step, "the proxies' counts are from before this step's weight was verified")
        return self._judge(
            candidate=candidate,
            stable=stable,
            weight=step.weight,
            reference=step.reference,
            prior_log_evidence=step.prior_log_evidence,
            minimum_requests=step.minimum_requests,
            thresholds=step.thresholds,
        )


def _nothing(step: Watch, message: str) -> Verdict:
    return replace(Verdict(Outcome.INCONCLUSIVE, message), log_evidence=step.prior_log_evidence)
