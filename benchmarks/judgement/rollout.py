"""Drives the product's own parts through one rollout: backtest and its rule, the watch and its judges, the policy.

Nothing is decided here. `AnalysisActivities.watch` runs as a worker runs it, with its sources, heartbeats and pauses,
on an event loop whose time passes at once; `next_action` says what comes next, as the workflow asks it.
"""

import asyncio
import selectors
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

import numpy as np
from temporalio.testing import ActivityEnvironment

from activities.analysis import AnalysisActivities
from activities.backtest import BacktestActivities
from activities.concurrent import References
from activities.looking import Sources
from benchmarks.judgement.requests import LABELS, NOBODY, Answers, Requests
from benchmarks.judgement.world import BEGIN, CANDIDATE_APP, STABLE_APP, World
from hotswap.analysis.backtest import compare
from hotswap.analysis.judge import Judging
from hotswap.domain.analysis import Bake as BakeRecord
from hotswap.domain.analysis import Checkpoint, Look, Source, Subject
from hotswap.domain.application import ApplicationHealth, ApplicationState
from hotswap.domain.backtest import BacktestReport, Recorded, RecordedRequest, Reply, ReplyKind, Ruling, rule, spread
from hotswap.domain.errors import Unavailable
from hotswap.domain.fleet import Scale
from hotswap.domain.policy import (
    Asked,
    Bake,
    Extend,
    Fail,
    GoTo,
    Hold,
    Promote,
    RollBack,
    Rollout,
    SetWeight,
    Wait,
    next_action,
)
from hotswap.domain.traffic import FULL, Counts, total_counts
from hotswap.domain.verdict import Reason, Verdict
from hotswap.domain.vocabulary import Environment, RequestForm
from hotswap.messages import BacktestVersion, CanaryConfig, VerifiedWeight, Watch

MOST_SECONDS = 3_600
"""Of requests from before, that a backtest's sample is drawn from."""


class End(StrEnum):
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    """For harm that was found."""
    UNPROVEN = "gone back unproven"
    """Since no pass was found until a deadline."""
    HELD = "held"
    """For a person, and no word came."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a rollout ended: `seconds` after its first weight; of the `requests` until then so many were worse off.

    What is held ends here, as nobody speaks.
    """

    end: End
    message: str
    seconds: float
    hurt: int
    requests: int


class _AtOnce(selectors.SelectSelector):
    """Nobody waits: where nothing is ready, the time that was to be waited for has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class _Here(ThreadPoolExecutor):
    """Does at once what a thread would do beside the loop: no time passes meanwhile."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class Clock:
    """An event loop whose time passes at once, and its Unix time."""

    def __init__(self) -> None:
        selector = _AtOnce()
        self.loop = asyncio.SelectorEventLoop(selector)
        self.loop.set_default_executor(_Here())
        self.loop.time = lambda: selector.now  # type: ignore[method-assign]  # that is what the loop waits by

    def __call__(self) -> float:
        return BEGIN + self.loop.time()


class _NoLooks:
    """Nobody asks to have this explained."""

    async def record(
        self, deployment_id: str, bake: BakeRecord, verdict: Verdict, checkpoint: Checkpoint | None = None
    ) -> None: ...

    async def checkpoint(self, deployment_id: str, *, step: int, begun_at: float) -> Checkpoint | None:
        return None

    async def past(
        self, deployment_id: str, *, step: int, begun_at: float, after: float | None = None, limit: int
    ) -> list[Look]:
        return []


def tried_on_records(world: World, clock: Clock, draw: np.random.Generator, config: CanaryConfig) -> Ended | None:
    """The backtest in Production: how the rollout ends by it, before a client meets the candidate; None: not yet."""
    replicas: Any = _Replicas(draw)  # of each port what a backtest asks
    before: Any = _Before(world, replicas, draw, number=3 * config.backtest.samples)
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


class _Replicas:
    """Both versions' replicas, which are asked again what is on record."""

    def __init__(self, draw: np.random.Generator) -> None:
        self._draw = draw
        self._requests: dict[str, tuple[Requests, int]] = {}

    def records(self, requests: Requests, answers: Answers) -> list[RecordedRequest]:
        """Of requests to which these were the answers."""
        made = []
        for place, caller in enumerate(requests.caller):
            record = RecordedRequest(
                f"r-{len(self._requests)}",
                RequestForm.INSTANCE,
                ({"kind": round(float(requests.kind[place]), 4)},),
                (_name(answers.label[place]),),
                BEGIN + requests.at,
                float(answers.confidence[place]),
                None if caller == NOBODY else int(caller),
            )
            self._requests[record.request_id] = requests, place
            made.append(record)
        return made

    async def applications(self) -> dict[str, ApplicationState]:
        names = (CANDIDATE_APP, STABLE_APP)
        return {name: ApplicationState(name, ApplicationHealth.RUNNING, targets=("replica:1",)) for name in names}

    async def ask(self, application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        requests, place = self._requests[request.request_id]
        answers = requests.candidate if application == CANDIDATE_APP else requests.stable
        return _reply(answers.at(np.array([place])), self._draw)


class _Before:
    """What the stable was asked before the rollout, as far as it is on record."""

    def __init__(self, world: World, replicas: _Replicas, draw: np.random.Generator, *, number: int) -> None:
        self._records: list[RecordedRequest] = []
        for second in range(1, MOST_SECONDS):
            if len(self._records) >= number or (second > 60 and not self._records):
                break
            requests = world.before(-second)
            answered = requests.at_places(requests.stable.statuses(draw) < 400)
            self._records += replicas.records(answered, answered.stable)

    async def sample(self, application: str, *, model: str, most: int) -> Recorded:
        return Recorded(tuple(spread(self._records, most, by=(lambda each: each.caller,))))

    async def store(self, deployment_id: str, report: BacktestReport) -> None: ...


class _Lately:
    """What the candidate was asked in the newest seconds."""

    def __init__(self, world: World, replicas: _Replicas) -> None:
        self._world = world
        self._replicas = replicas

    async def recent(self, application: str, *, model: str, since: float, most: int) -> Recorded:
        records: list[RecordedRequest] = []
        for requests in reversed(self._world.lately):
            if BEGIN + requests.at <= since or len(records) >= most:
                break
            newest = np.arange(len(requests))[: most - len(records)]
            answered = requests.at_places(newest).at_places(requests.candidate.at(newest).status < 400)
            records += self._replicas.records(answered, answered.candidate)
        return Recorded(tuple(records))


def _reply(answers: Answers, draw: np.random.Generator) -> Reply:
    """To the one request that these are the answers to."""
    [status] = answers.statuses(draw)
    seconds = float(answers.ms[0]) / 1000
    if status >= 500:
        return Reply(ReplyKind.FAILED, seconds, problem=str(status))
    if status >= 400:
        return Reply(ReplyKind.REFUSED, seconds, field="features.kind", problem=str(status))
    labels = (_name(answers.label[0]),) * int(answers.rows[0])
    return Reply(ReplyKind.ANSWERED, seconds, labels, float(answers.confidence[0]), model_seconds=seconds)


def _name(label: int) -> str:
    return LABELS[label] if label < len(LABELS) else f"class {label}"


async def rolled_out(
    world: World,
    clock: Clock,
    draw: np.random.Generator,
    config: CanaryConfig,
    *,
    words: Sequence[tuple[float, Asked]] = (),
) -> Ended:
    """From the first weight to the end. `words` are what a person says, each so many seconds after the first weight."""
    return await _Driver(world, clock, draw, config, words).run()


class _Driver:
    """What `workflows/stepping.py` does with an action, without Temporal."""

    def __init__(
        self,
        world: World,
        clock: Clock,
        draw: np.random.Generator,
        config: CanaryConfig,
        words: Sequence[tuple[float, Asked]],
    ) -> None:
        self._world = world
        self._clock = clock
        self._config = config
        self._words = list(words)
        self._asked = Asked()
        self._evidence: dict[str, float] = {}
        self._first: VerifiedWeight | None = None
        self._latest: VerifiedWeight | None = None
        self._rollout = Rollout(config.plan(), rules=config.rules())
        meters = dict.fromkeys(Source, world)
        bus: Any = world  # of which a watch reads the reports, and no more
        replicas: Any = _Replicas(draw)
        lately: Any = _Lately(world, replicas)  # of each port what a reference asks
        references = References(lately, replicas, replicas)
        sources = Sources(bus, meters, world, references, clock=clock, stopwatch=clock.loop.time)
        self._watching = AnalysisActivities(sources, _NoLooks(), Judging)

    async def run(self) -> Ended:
        while True:
            match next_action(self._rollout, self._asked, now=self._clock()):
                case SetWeight(weight):
                    await self._set_weight(weight)
                case Bake(until, deadline):
                    await self._bake(until, deadline)
                case Extend(until):
                    self._rollout = self._rollout.extended(until=until)
                case Wait(until):
                    await asyncio.sleep(until - self._clock())
                case GoTo(position):
                    if self._rollout.verdict is not None:
                        self._evidence = self._rollout.verdict.evidence
                    self._rollout = self._rollout.at_step(position)
                    self._asked = self._asked.answered()
                case Promote():
                    return self._ended(End.PROMOTED, "")
                case RollBack(reason, message):
                    return self._ended(End.UNPROVEN if reason in _UNPROVEN else End.ROLLED_BACK, f"{reason}: {message}")
                case Hold(_, _, message):
                    return self._ended(End.HELD, message)
                case Scale() | Fail() as never_here:
                    raise AssertionError(f"there is room and a stable here, so never {never_here}")
                case never:
                    assert_never(never)

    async def _set_weight(self, weight: int) -> None:
        """And verify it, or come back later where nobody can read what the proxies say."""
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
        """Until there is a verdict, or somebody speaks."""
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

    async def _spoken(self) -> Asked:
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
        if self._latest.weight == FULL:
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
            prior_evidence=self._evidence,
            policy=self._config.analysis_policy(),
            bake_until=until,
            deadline=deadline,
            extends=True,
        )

    def _ended(self, end: End, message: str) -> Ended:
        seconds = self._clock() - BEGIN
        return Ended(end, message, seconds, self._world.hurt, self._world.requests)


_UNPROVEN = frozenset(
    {
        Reason.INSUFFICIENT_DATA,
        Reason.INCONCLUSIVE,
        Reason.ANALYSIS_FAILED,
        Reason.DEADLINE_EXCEEDED,
        Reason.SAMPLE_RATIO,
    }
)


def run(work: Any, clock: Clock) -> Ended:
    """The coroutine's result, on the clock's own loop."""
    try:
        ended: Ended = clock.loop.run_until_complete(work)
        return ended
    finally:
        clock.loop.close()
