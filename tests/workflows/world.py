"""The world as a few dictionaries, with switches for what a test wants to go wrong; the fakes beside it are its ports.

`World.samples` records, at every change, what a chaos test would sample: the candidate's weight and the applications
that exist, so that invariants can be asserted over the whole run and not only at its end.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hotswap.analysis.judge import StepJudging
from hotswap.domain.analysis import BakeRecord, Checkpoint, Observation, Source
from hotswap.domain.application import (
    ApplicationSpec,
    ArtifactRef,
    ReplicaResources,
)
from hotswap.domain.backtest import BacktestReport, RecordedRequest, Reply, ReplyKind
from hotswap.domain.capacity import held, size_of
from hotswap.domain.contract import Contract
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.promotion import ActivePeriod
from hotswap.domain.queueing import QueueState
from hotswap.domain.registry import DeploymentBrief, VersionRef
from hotswap.domain.resources import Amount
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Counts, Route, TrafficPlan, Withdrawal
from hotswap.domain.validation import Override, ValidationCheck, ValidationReport
from hotswap.domain.verdict import Verdict
from hotswap.domain.vocabulary import DeploymentKind, Environment, Framework
from hotswap.ports import Judge, Meter
from tests.workflows.watchtower import FakeAlerts

SCHEMA: dict[str, Any] = {"type": "array"}


def version_ref(version: str) -> VersionRef:
    return VersionRef(
        version_id=f"ver-{version}",
        model_id="model-1",
        model="fraud",
        version=version,
        framework=Framework.ONNX,
        artifact=ArtifactRef(f"s3://ml-models/fraud/{version}.tar.gz", "0" * 64, 1),
        input_schema=SCHEMA,
        output_schema=SCHEMA,
    )


RARE = 0.02
"""Requests a second, so few that no bake of a test sees the number that a verdict needs, however slow the machine."""


@dataclass
class World:
    """Everything outside the workflow. `candidate_errors` is how many of the candidate's requests fail, 0 to 1.

    With `gpus` None there is room for everything; else `running` are the replicas that have found some, and `overloads`
    whatever was ever seen to get more than those hold.
    """

    brief: DeploymentBrief
    clock: Callable[[], float]
    candidate_errors: float = 0.0
    requests_per_second: float = 200.0
    recorded: tuple[RecordedRequest, ...] = ()
    """What the stable was asked of late; each is answered as it was, but by the candidate as `candidate_replies`."""
    candidate_replies: Callable[[RecordedRequest], Reply] = lambda request: as_recorded(request)
    records_fail: int = 0
    """So many times the records can't be read."""
    asker_dies: int = 0
    """So many times, in the middle of a backtest, what asks dies without a word."""
    held_asking: bool = False
    """The backtest's first request is not answered until `released`."""
    stable_is_down: bool = False
    asked_once: str | None = None
    """Why nothing that the candidate was asked may be asked again, if so."""
    at_full: tuple[float, float] | None = None
    """In milliseconds, what the candidate and the stable take for an answer from 100% on; 1 ms otherwise."""
    hanging: int = 0
    """So many of the candidate's requests are in flight whenever its weight changes, and fail `hang_seconds` later."""
    hang_seconds: float = 0.0
    tells_what_is_active: bool = True
    report: ValidationReport = field(
        default_factory=lambda: ValidationReport((ValidationCheck("model loads", True, ""),))
    )
    override: Override | None = None
    contract: Contract | None = None
    replicas_fail: str | None = None
    replicas_hang: bool = False
    replicas_crash: bool = False
    """Each runs for a moment, and is dead when it is asked for something."""
    judge: Judge = StepJudging
    meters: Mapping[Source, Meter] = field(default_factory=dict)
    is_unwatched: bool = False
    """Nobody is there who would watch a bake."""
    proxies_silent: bool = False
    withdrawals: tuple[Withdrawal, ...] = ()
    """Candidates that people took out at the proxy."""
    withdraw_fails: int = 0
    no_slots: bool = False
    queue_state: QueueState | None = None
    gpus: float | None = None
    gpus_after_plan: float | None = None
    ray_says: str = ""
    ray_is_away: bool = False
    team: str | None = None
    notify: Callable[[], None] = lambda: None
    active_period: ActivePeriod | None = None
    """What is active where a promotion policy asks; set by the test that has one."""
    held_at: DeploymentStatus | None = None
    """The phase whose work gets stuck until `released`, which nothing but a test sets."""
    held_entering: DeploymentStatus | None = None
    """The status that is written, but not confirmed to who wrote it until `released`."""
    held_inspecting: bool = False
    """Artifacts are fetched and looked into, without an end until `released`."""
    held_adding: bool = False
    """Versions are written to the registry, without an end until `released`."""
    held_planning: bool = False
    """The capacity plan is promised, but not confirmed to who made it until `released`."""

    held: int = 0
    """How many artifacts and versions wait to be `released`."""
    statuses: list[DeploymentStatus] = field(default_factory=lambda: [DeploymentStatus.PENDING])
    reasons: list[str | None] = field(default_factory=list)
    decisions: list[tuple[str, str, str]] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    approvals: list[tuple[str, bool]] = field(default_factory=list)
    proofs: dict[str, str] = field(default_factory=dict)
    """What the API has put on record of approvals, by who gave them."""
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    observations: list[tuple[BakeRecord, Observation]] = field(default_factory=list)
    checkpoints: dict[tuple[int, float], Checkpoint] = field(default_factory=dict)
    applications: dict[str, ApplicationSpec] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    full: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    overloads: list[str] = field(default_factory=list)
    sheds: list[int] = field(default_factory=list)
    warmed_up: list[str] = field(default_factory=list)
    asked_again: list[tuple[str, str]] = field(default_factory=list)
    """Of every request of a backtest that was answered: the application and the request's id."""
    backtests: list[BacktestReport] = field(default_factory=list)
    active: str | None = None
    route: Route | None = None
    plan: TrafficPlan = field(default_factory=TrafficPlan)
    epochs: dict[str, int] = field(default_factory=dict)
    samples: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    routed: list[tuple[str | None, int, frozenset[str]]] = field(default_factory=list)
    """As `samples`, and which candidate the route names, be it without any weight."""
    in_flight: list[tuple[float, int]] = field(default_factory=list)
    """When how many of them fail."""
    counts: dict[str, float] = field(default_factory=dict)
    counted_at_full: dict[str, float] = field(default_factory=dict)
    counted_at: float | None = None
    alerts: FakeAlerts = field(default_factory=FakeAlerts)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self) -> None:
        """Wait until the test releases it."""
        self.held += 1
        try:
            await self.released.wait()
        finally:
            self.held -= 1

    async def work(self) -> None:
        """What takes time in each phase; called by every fake that does such work."""
        if self.held_at is self.statuses[-1]:
            self.reached.set()
            await self.released.wait()

    def sample(self) -> None:
        weight, applications = self.route.candidate_weight if self.route else 0, frozenset(self.applications)
        candidate = self.route.candidate.application if self.route and self.route.candidate else None
        self.samples.append((weight, applications))
        self.routed.append((candidate, weight, applications))

    def serve(self, spec: ApplicationSpec, *, replicas: int | None = None) -> None:
        """Let an application run, as if it had been deployed before."""
        full = spec.resources.replicas
        self.applications[spec.name] = spec
        self.replicas[spec.name], self.full[spec.name] = full if replicas is None else replicas, full
        self.settle()

    def settle(self) -> None:
        """What Ray does with what it is told: replicas go that are too many, and those come that find a GPU."""
        wanted = {name: self.replicas[name] for name in self.applications}
        self.running = {name: min(number, wanted[name]) for name, number in self.running.items() if name in wanted}
        for name, number in wanted.items():
            while self.running.get(name, 0) < number and self._has_room_for(self.applications[name]):
                self.running[name] = self.running.get(name, 0) + 1
        self.look_for_overload()

    def _has_room_for(self, spec: ApplicationSpec) -> bool:
        taken = sum(size_of(self.applications[name].resources).gpus * number for name, number in self.running.items())
        most = Amount.of(gpus=self.gpus).gpus if self.gpus is not None else float("inf")
        return taken + size_of(spec.resources).gpus <= most

    def look_for_overload(self) -> None:
        for _, arm, weight in self.route.arms if self.route else ():
            if arm.application not in self.full or self.route is None:
                continue
            gets = (TOTAL_WEIGHT - self.route.shed) * weight / TOTAL_WEIGHT
            holds = held(self.running.get(arm.application, 0), self.full[arm.application])
            if gets > holds + 1:
                self.overloads.append(f"{arm.application} gets {gets / 100:g}% and holds {holds / 100:g}%")

    def tally(self) -> None:
        """Let the traffic of the time since the last tally flow through the present route."""
        now = self.clock()
        elapsed, self.counted_at = now - (self.counted_at or now), now
        for _, arm, weight in self.route.arms if self.route else ():
            flow = elapsed * self.requests_per_second * weight / 10_000
            for counts in (self.counts, self.counted_at_full) if self.is_full else (self.counts,):
                counts[arm.application] = counts.get(arm.application, 0.0) + flow

    @property
    def is_full(self) -> bool:
        return self.route is not None and self.route.candidate_weight == TOTAL_WEIGHT

    def arm_counts(self, application: str) -> Counts:
        total = int(self.counts.get(application, 0.0))
        slow = int(self.counted_at_full.get(application, 0.0)) if self.at_full is not None else 0
        latency = {"1000": total - slow} if total > slow else {}
        if slow and self.at_full is not None:
            latency[f"{self.at_full[0] * 1000:g}"] = slow
        if self.brief.stable is not None and application == self.brief.stable.application:
            return Counts(completed=total, latency=latency)
        late = sum(number for at, number in self.in_flight if at <= self.clock())
        failed = int(total * self.candidate_errors) + late
        return Counts(completed=total + late, server_errors=failed, latency=latency)

    def flying(self, application: str) -> int:
        """Its requests that are in flight now."""
        if self.brief.stable is not None and application == self.brief.stable.application:
            return 0
        return sum(number for at, number in self.in_flight if at > self.clock())

    def change_weight(self, before: int, after: int) -> None:
        if self.hanging and before != after and before > 0:
            self.in_flight.append((self.clock() + self.hang_seconds, self.hanging))


STABLE = Arm("Production-fraud-stable", "1.0.0", "dep-stable")


def as_recorded(request: RecordedRequest) -> Reply:
    return Reply(ReplyKind.ANSWERED, 0.001, request.answers, request.confidence)


def rollout_brief(*, stable: Arm | None = STABLE) -> DeploymentBrief:
    return DeploymentBrief(
        deployment_id="dep-candidate",
        kind=DeploymentKind.ROLLOUT,
        environment=Environment.PRODUCTION,
        candidate=version_ref("2.0.0"),
        resources=ReplicaResources(),
        stable=stable,
        warm=None,
        initiated_by="ann",
    )
