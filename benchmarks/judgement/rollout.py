"""Drives the product's own parts through one rollout: backtest and its rule, the watch and its judges, the policy.

Nothing is decided here. `AnalysisActivities.watch` runs as a worker runs it, with its sources, heartbeats and pauses,
on an event loop whose time passes at once; `next_action` says what comes next, as the workflow asks it.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np
from temporalio.testing import ActivityEnvironment

from activities.analysis import AnalysisActivities
from activities.backtest import BacktestActivities
from activities.concurrent import References
from activities.observations import Sources
from benchmarks.judgement.clock import Clock
from benchmarks.judgement.ends import End, Ended
from benchmarks.judgement.replicas import Before, Lately, Replicas
from benchmarks.judgement.world import BEGIN, CANDIDATE_APP, STABLE_APP, World
from hotswap.analysis.backtest import compare
from hotswap.analysis.judge import StepJudging
from hotswap.domain import policy
from hotswap.domain.analysis import BakeRecord, Checkpoint, Observation, Source, Subject
from hotswap.domain.backtest import BacktestReport, Ruling, rule
from hotswap.domain.errors import Unavailable
from hotswap.domain.fleet import Scale, Shift
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts, total_counts
from hotswap.domain.verdict import Reason, Verdict
from hotswap.domain.vocabulary import Environment
from hotswap.messages import BacktestVersion, VerifiedWeight, Watch
from hotswap.schemas.strategy import CanaryConfig


class _NoLooks:
    """Observations that are not stored, as nobody asks to have this explained."""

    async def record(
        self, deployment_id: str, bake: BakeRecord, verdict: Verdict, checkpoint: Checkpoint | None = None
    ) -> None: ...

    async def checkpoint(self, deployment_id: str, *, step: int, begun_at: float) -> Checkpoint | None:
        return None

    async def past(
        self, deployment_id: str, *, step: int, begun_at: float, after: float | None = None, limit: int
    ) -> list[Observation]:
        return []


def tried_on_records(world: World, clock: Clock, draw: np.random.Generator, config: CanaryConfig) -> Ended | None:
    """Run the backtest in Production; return how it ends the rollout before any client, or None if it goes on."""
    replicas: Any = Replicas(draw)  # of each port what a backtest asks
    before: Any = Before(world, replicas, draw, number=3 * config.backtest.samples)
    backtest = BacktestActivities(before, replicas, replicas, compare, clock=clock).backtest
    work = BacktestVersion(
        deployment_id="dep-1",
        model="fraud",
        candidate=CANDIDATE_APP,
        stable=STABLE_APP,
        samples=config.backtest.samples,
        budget_seconds=86_400,
        score_tolerance=config.backtest.score_tolerance,
    )
    report: BacktestReport = clock.loop.run_until_complete(ActivityEnvironment().run(backtest, work))
    ruled = rule(report, config.backtest.limits(), environment=Environment.PRODUCTION)
    match ruled.ruling:
        case Ruling.FAIL:
            return Ended(End.ROLLED_BACK, f"backtest: {ruled.message}", 0.0, 0, 0)
        case Ruling.HOLD:
            return Ended(End.HELD, f"backtest: {ruled.message}", 0.0, 0, 0)
        case Ruling.GO_ON:
            return None
        case never:
            assert_never(never)


async def rolled_out(
    world: World,
    clock: Clock,
    draw: np.random.Generator,
    config: CanaryConfig,
    *,
    words: Sequence[tuple[float, policy.Requests]] = (),
) -> Ended:
    """Run a rollout from the first weight to the end.

    `words` are a person's commands, each so many seconds after the first weight.
    """
    return await _Driver(world, clock, draw, config, words).run()


_UNPROVEN = frozenset(
    {
        Reason.INSUFFICIENT_DATA,
        Reason.INCONCLUSIVE,
        Reason.ANALYSIS_FAILED,
        Reason.DEADLINE_EXCEEDED,
        Reason.SAMPLE_RATIO,
    }
)


class _Driver:
    """The loop of `workflows/deployment/rollout.py`, without Temporal."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        draw: np.random.Generator,
        config: CanaryConfig,
        words: Sequence[tuple[float, policy.Requests]],
    ) -> None:
        self._world = world
        self._clock = clock
        self._config = config
        self._words = list(words)
        self._asked = policy.Requests()
        self._first: VerifiedWeight | None = None
        self._latest: VerifiedWeight | None = None
        self._rollout = policy.Rollout(config.plan(), rules=config.rules())
        meters = dict.fromkeys(Source, world)
        bus: Any = world  # of which a watch reads the reports, and no more
        replicas: Any = Replicas(draw)
        lately: Any = Lately(world, replicas)  # of each port what a reference asks
        references = References(lately, replicas, replicas)
        sources = Sources(bus, meters, world, references, clock=clock, stopwatch=clock.loop.time)
        self._watching = AnalysisActivities(sources, _NoLooks(), StepJudging)

    async def run(self) -> Ended:
        while True:
            match policy.next_action(self._rollout, self._asked, now=self._clock()):
                case Shift(weight):
                    await self._set_weight(weight)
                case policy.Bake(until, deadline):
                    await self._bake(until, deadline)
                case policy.Extend(until):
                    self._rollout = self._rollout.extended(until=until)
                case policy.Wait(until):
                    await asyncio.sleep(until - self._clock())
                case policy.GoTo(position):
                    self._rollout = self._rollout.at_step(position)
                    self._asked = self._asked.answered()
                case policy.Promote():
                    return self._ended(End.PROMOTED, "")
                case policy.RollBack(reason, message):
                    return self._ended(End.UNPROVEN if reason in _UNPROVEN else End.ROLLED_BACK, f"{reason}: {message}")
                case policy.Hold(_, _, message):
                    return self._ended(End.HELD, message)
                case Scale() | policy.Fail() as never_here:
                    raise AssertionError(f"there is room and a stable here, so never {never_here}")
                case never:
                    assert_never(never)

    async def _set_weight(self, weight: int) -> None:
        """Set the weight and verify it, or come back later if nobody can read what the proxies say."""
        self._world.set_weight(weight)
        try:
            reports = await self._world.reports()
        except Unavailable:
            await asyncio.sleep(1)
            return
        self._latest = VerifiedWeight(
            weight=weight,
            verified_at=self._clock(),
            proxies=tuple(each.proxy for each in reports),
            stable=total_counts(reports, STABLE_APP),
            candidate=total_counts(reports, CANDIDATE_APP),
        )
        self._first = self._first or self._latest
        self._rollout = self._rollout.verified(at=self._clock())

    async def _bake(self, until: float, deadline: float) -> None:
        """Wait until there is a verdict, or a command."""
        watch = asyncio.ensure_future(self._verdict(until, deadline))
        spoken = asyncio.ensure_future(self._spoken())
        try:
            await asyncio.wait({watch, spoken}, return_when=asyncio.FIRST_COMPLETED)
            if spoken.done() and not watch.done():
                self._asked = spoken.result()
            else:
                self._rollout = self._rollout.judged(watch.result())
        finally:
            for task in (watch, spoken):
                task.cancel()
            await asyncio.gather(watch, spoken, return_exceptions=True)

    async def _verdict(self, until: float, deadline: float) -> Verdict:
        verdict: Verdict = await ActivityEnvironment().run(self._watching.watch, self._watch(until, deadline))
        return verdict

    async def _spoken(self) -> policy.Requests:
        if not self._words:
            await asyncio.Event().wait()
        at, word = self._words[0]
        await asyncio.sleep(max(0.0, BEGIN + at - self._clock()))
        self._words.pop(0)
        return word

    def _watch(self, until: float, deadline: float) -> Watch:
        assert self._latest is not None
        assert self._first is not None
        reference: Counts | None = None
        if self._latest.weight == TOTAL_WEIGHT:
            reference = self._latest.stable - self._first.stable
            if reference.good < self._config.minimum_requests:
                reference = self._latest.stable
        return Watch(
            subject=Subject(
                deployment_id="dep-1",
                environment=Environment.PRODUCTION,
                model="fraud",
                candidate=CANDIDATE_APP,
                stable=STABLE_APP,
                candidate_version="2",
                stable_version="1",
                weight=self._latest.weight,
                since=self._latest.verified_at,
            ),
            step=self._rollout.position,
            baseline=self._latest,
            reference=reference,
            prior_evidence=dict(self._rollout.evidence),
            policy=self._config.analysis_policy(),
            bake_until=until,
            deadline=deadline,
            extends=True,
        )

    def _ended(self, end: End, message: str) -> Ended:
        seconds = self._clock() - BEGIN
        return Ended(end, message, seconds, self._world.hurt, self._world.requests)
