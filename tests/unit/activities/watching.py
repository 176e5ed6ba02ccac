"""A watch of one step over proxies, records and judges of a test's own, at a clock that stands."""

from collections.abc import Callable
from typing import Any

from activities.analysis import AnalysisActivities
from activities.observations import Sources
from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import (
    AnalysisPolicy,
    BakeRecord,
    Checkpoint,
    Entities,
    Metric,
    Observation,
    Source,
    Subject,
)
from hotswap.domain.concurrent import Concurrent
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts, ProxyReport
from hotswap.domain.verdict import Outcome, Verdict
from hotswap.messages import VerifiedWeight, Watch
from hotswap.ports import Judge, Meter
from hotswap.schemas.strategy import CanaryConfig
from tests.fixtures.reports import ReportsOnly


class Bus(ReportsOnly):
    """A proxy that never falls silent: the first observation finds the first of these numbers answered, and so on."""

    def __init__(self, *answered: int) -> None:
        self.answered = list(answered)
        self.made = 0

    async def reports(self) -> list[ProxyReport]:
        self.made += 1
        completed = self.answered.pop(0) if len(self.answered) > 1 and self.made > 1 else self.answered[0]
        return [self.report_of("envoy-0", completed)]

    def report_of(self, proxy: str, completed: int) -> ProxyReport:
        counts = Counts(completed=completed, latency={"1000": completed})
        return ProxyReport(proxy, 1, float(self.made), {"candidate": counts, "stable": counts})


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Record:
    def __init__(self, *looks: Observation, begun_at: float = 0.0) -> None:
        self.looks = [(begun_at, look) for look in looks]
        self.checkpoints: dict[float, list[Checkpoint]] = {}

    async def record(
        self, deployment_id: str, bake: BakeRecord, verdict: Verdict, checkpoint: Checkpoint | None = None
    ) -> None:
        self.looks += [(bake.begun_at, look) for look in bake.observations]
        if checkpoint is not None:
            self.checkpoints.setdefault(bake.begun_at, []).append(checkpoint)

    async def checkpoint(self, deployment_id: str, *, step: int, begun_at: float) -> Checkpoint | None:
        return self.checkpoints.get(begun_at, [None])[-1]

    async def past(
        self, deployment_id: str, *, step: int, begun_at: float, after: float | None = None, limit: int
    ) -> list[Observation]:
        own = (look for begun, look in self.looks if begun == begun_at)
        return [look for look in own if after is None or look.at > after][:limit]


class Callers:
    async def entities(self, subject: Subject) -> Entities:
        return Entities()


def activities(
    bus: Bus, record: Record | None = None, *, judge: Judge = StepJudging, meter: Meter | None = None
) -> AnalysisActivities:
    meters = {Source.CONFIDENCE: meter} if meter is not None else {}
    sources = Sources(bus, meters, Callers(), clock=Clock())
    return AnalysisActivities(sources, record or Record(), judge)


def step(*, baseline: int, verified_at: float, metrics: tuple[Metric, ...] | None = None, lasts: float = 0.0) -> Watch:
    counts = Counts(completed=baseline, latency={"1000": baseline})
    return Watch(
        subject=Subject(
            "dep", "Production", "m", "candidate", "stable", "2.0.0", "1.0.0", TOTAL_WEIGHT // 2, verified_at
        ),
        step=0,
        baseline=VerifiedWeight(
            weight=TOTAL_WEIGHT // 2, verified_at=verified_at, proxies=("envoy-0",), candidate=counts, stable=counts
        ),
        reference=None,
        policy=CanaryConfig(minimum_requests=10).analysis_policy() if metrics is None else AnalysisPolicy(metrics),
        bake_until=Clock.now,
        deadline=Clock.now + lasts,
    )


class Seen:
    """A judge that notes what it is shown; it passes, or when `until` is given, once it has seen that."""

    def __init__(
        self, *, verdict: Verdict | None = None, until: Callable[[Observation], bool] = lambda _: True
    ) -> None:
        self.looks: list[Observation] = []
        self._verdict = verdict or Verdict(Outcome.PASS, "fine")
        self._until = until

    def judge(self, *_: Any, **__: Any) -> "Seen":
        return self

    @property
    def last(self) -> Observation | None:
        return self.looks[-1] if self.looks else None

    @property
    def concurrent(self) -> Concurrent | None:
        return next((look.concurrent for look in reversed(self.looks) if look.concurrent is not None), None)

    def folded(self) -> bytes:
        return b""

    def resume(self, folded: bytes) -> bool:
        return False

    def add(self, look: Observation) -> None:
        self.looks.append(look)

    def verdict(self, *, is_over: bool = False) -> Verdict:
        is_seen = any(self._until(look) for look in self.looks)
        return self._verdict if is_seen else Verdict(Outcome.INSUFFICIENT_DATA, "not yet")
