"""One fake behind each port: the world as a few dictionaries, with switches for what a test wants to go wrong.

`World.samples` records, at every change, what a chaos test would sample: the candidate's weight and the applications
that exist, so that invariants can be asserted over the whole run and not only at its end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hotswap.analysis.judge import Judging
from hotswap.domain.analysis import Bake, Entities, Look, Source, Subject
from hotswap.domain.application import (
    ApplicationHealth,
    ApplicationSpec,
    ApplicationState,
    ArtifactRef,
    Desired,
    ReplicaResources,
)
from hotswap.domain.capacity import held, size_of
from hotswap.domain.demand import Holding
from hotswap.domain.errors import StaleFence
from hotswap.domain.lifecycle import DeploymentStatus, check_transition
from hotswap.domain.promotion import Tenure
from hotswap.domain.queueing import Entry, Place, Standing
from hotswap.domain.registry import (
    Check,
    DeploymentBrief,
    Inspection,
    Registration,
    Unfinished,
    ValidationReport,
    VersionRef,
)
from hotswap.domain.resources import Amount, Cluster, Node
from hotswap.domain.traffic import FULL, Arm, Counts, Fence, ProxyReport, Route, TrafficChange, TrafficPlan
from hotswap.domain.verdict import Reason, Verdict
from hotswap.domain.vocabulary import DeploymentKind, Environment, Framework
from hotswap.ports import Judge, Meter, Planning, WriterLease

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
    report: ValidationReport = field(default_factory=lambda: ValidationReport((Check("model loads", True, ""),)))
    replicas_fail: str | None = None
    replicas_hang: bool = False
    replicas_crash: bool = False
    """Each runs for a moment, and is dead when it is asked for something."""
    judge: Judge = Judging
    meters: Mapping[Source, Meter] = field(default_factory=dict)
    is_unwatched: bool = False
    """Nobody is there who would watch a bake."""
    proxies_silent: bool = False
    withdraw_fails: int = 0
    no_slots: bool = False
    standing: Standing | None = None
    gpus: float | None = None
    gpus_after_plan: float | None = None
    ray_says: str = ""
    ray_is_away: bool = False
    team: str | None = None
    ring: Callable[[], None] = lambda: None
    tenure: Tenure | None = None
    """What is active where a promotion policy asks; set by the test that has one."""
    held_at: DeploymentStatus | None = None
    """The phase whose work gets stuck until `released`, which nothing but a test sets."""
    held_entering: DeploymentStatus | None = None
    """The status that is written, but not confirmed to who wrote it until `released`."""

    statuses: list[DeploymentStatus] = field(default_factory=lambda: [DeploymentStatus.PENDING])
    reasons: list[str | None] = field(default_factory=list)
    decisions: list[tuple[str, str, str]] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    approvals: list[tuple[str, bool]] = field(default_factory=list)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    looks: list[tuple[Bake, Look]] = field(default_factory=list)
    applications: dict[str, ApplicationSpec] = field(default_factory=dict)
    replicas: dict[str, int] = field(default_factory=dict)
    full: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    overloads: list[str] = field(default_factory=list)
    sheds: list[int] = field(default_factory=list)
    warmed_up: list[str] = field(default_factory=list)
    active: str | None = None
    route: Route | None = None
    plan: TrafficPlan = field(default_factory=TrafficPlan)
    epochs: dict[str, int] = field(default_factory=dict)
    samples: list[tuple[int, frozenset[str]]] = field(default_factory=list)
    routed: list[tuple[str | None, int, frozenset[str]]] = field(default_factory=list)
    """As `samples`, and which candidate the route names, be it without any weight."""
    counts: dict[str, float] = field(default_factory=dict)
    counted_at: float | None = None
    released: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)

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
            gets = (FULL - self.route.shed) * weight / FULL
            holds = held(self.running.get(arm.application, 0), self.full[arm.application])
            if gets > holds + 1:
                self.overloads.append(f"{arm.application} gets {gets / 100:g}% and holds {holds / 100:g}%")

    def tally(self) -> None:
        """Let the traffic of the time since the last tally flow through the present route."""
        now = self.clock()
        elapsed, self.counted_at = now - (self.counted_at or now), now
        for _, arm, weight in self.route.arms if self.route else ():
            self.counts[arm.application] = (
                self.counts.get(arm.application, 0.0) + elapsed * self.requests_per_second * weight / 10_000
            )

    def arm_counts(self, application: str) -> Counts:
        total = int(self.counts.get(application, 0.0))
        bad = self.candidate_errors if self.brief.stable is None or application != self.brief.stable.application else 0
        return Counts(completed=total, server_errors=int(total * bad), latency={"1000": total} if total else {})


class FakeRegistry:
    def __init__(self, world: World) -> None:
        self.world = world

    async def add_version(self, registration: Registration, inspection: Inspection) -> VersionRef:
        return version_ref(registration.version)

    async def version_exists(self, model: str, version: str) -> bool:
        return False

    async def store_validation(self, deployment_id: str, version_id: str, report: ValidationReport) -> None:
        pass


class FakeTenures:
    def __init__(self, world: World) -> None:
        self.world = world

    async def tenure(self, model: str, environment: Environment) -> Tenure:
        assert self.world.tenure is not None
        return self.world.tenure


class FakePlans:
    def __init__(self, world: World) -> None:
        self.world = world

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        world = self.world
        if change.candidate is None and world.withdraw_fails:
            world.withdraw_fails -= 1
            raise ConnectionError("the database is away")
        epoch = world.epochs.setdefault(run_id, len(world.epochs) + 1)
        fence = Fence(epoch, change.sequence)
        if world.route is not None and world.route.fence.is_newer_than(fence):
            raise StaleFence("a newer writer has been here")
        world.tally()
        if change.stable is None and change.candidate is None:
            world.route = None
        else:
            world.route = Route(
                change.environment,
                change.model,
                change.stable,
                change.candidate,
                change.candidate_weight,
                fence,
                shed=change.shed,
            )
        world.plan = TrafficPlan(world.plan.generation + 1, (world.route,) if world.route else ())
        world.sheds.append(change.shed)
        world.look_for_overload()
        world.sample()
        return world.plan

    async def current(self) -> TrafficPlan:
        return self.world.plan

    async def proxy_reports(self) -> list[ProxyReport]:
        return []


class FakeDeployments:
    def __init__(self, world: World, plans: FakePlans) -> None:
        self.world = world
        self.plans = plans

    async def open(self, deployment_id: str, *, run_id: str) -> DeploymentBrief:
        await self.world.work()
        return self.world.brief

    async def unfinished(self) -> list[Unfinished]:
        return []

    async def transition(
        self, deployment_id: str, status: DeploymentStatus, *, message: str, reason: str | None, actor: str
    ) -> None:
        if check_transition(self.world.statuses[-1], status):
            self.world.statuses.append(status)
            self.world.reasons.append(reason)
        if status.is_terminal:
            await self.world.work()
        if status is self.world.held_entering:
            self.world.reached.set()
            await self.world.released.wait()

    async def record_weight(
        self, deployment_id: str, *, verified_weight: int, progress: int | None, message: str
    ) -> None:
        await self.world.work()
        if verified_weight or self.world.weights:  # none before the first one is no weight
            self.world.weights.append(verified_weight)

    async def record_decision(
        self, deployment_id: str, *, decision_id: str, kind: str, actor: str, message: str
    ) -> None:
        self.world.decisions.append((kind, actor, message))

    async def approve(self, deployment_id: str, *, step: int, by: str, claimed: bool) -> None:
        self.world.approvals.append((by, claimed))

    async def make_active(self, deployment_id: str, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        self.world.active = deployment_id
        return await self.plans.apply(change, run_id=run_id)

    async def make_inactive(self, deployment_id: str, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        self.world.active = None
        return await self.plans.apply(change, run_id=run_id)


class FakeLooks:
    def __init__(self, world: World) -> None:
        self.world = world

    async def record(self, deployment_id: str, bake: Bake, verdict: Verdict) -> None:
        self.world.verdicts[bake.step] = verdict
        self.world.looks += [(bake, look) for look in bake.looks]

    async def past(self, deployment_id: str, *, step: int, begun_at: float) -> list[Look]:
        return [look for bake, look in self.world.looks if (bake.step, bake.begun_at) == (step, begun_at)]


class FakeCensus:
    async def entities(self, subject: Subject) -> Entities:
        return Entities()


class FakeSlots:
    """As many slots as anybody wants, unless the world has none."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def places(self, deployment_ids: Collection[str]) -> dict[str, Place | None]:
        if not self.world.no_slots:
            return dict.fromkeys(deployment_ids)
        self.world.reached.set()
        return dict.fromkeys(deployment_ids, Place(3, "waits for a slot, as number 3 in line"))


class FakeTurns:
    """Whoever is queued stands where the world says."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def standings(self, deployment_ids: Collection[str]) -> dict[str, Standing | None]:
        return dict.fromkeys(deployment_ids, self.world.standing)

    async def make_way(self, deployment_id: str) -> tuple[Entry, ...]:
        return self.world.standing.overtakes if self.world.standing is not None else ()

    async def leave(
        self, deployment_id: str, status: DeploymentStatus, *, reason: Reason, message: str, actor: str
    ) -> bool:
        self.world.standing = None
        return True

    async def called(self) -> list[dict[str, Any]]:
        return []


class FakeBell:
    """Rings as often as the world is changed by a test."""

    def __init__(self, world: World) -> None:
        self.world = world

    @contextlib.asynccontextmanager
    async def listening(self, heard: Callable[[], None]) -> AsyncIterator[None]:
        self.world.ring = heard
        yield


class FakeBus:
    def __init__(self, world: World) -> None:
        self.world = world
        self.confirmed = 0

    async def publish(self, plan: TrafficPlan) -> None:
        if not self.world.proxies_silent:
            self.confirmed = max(self.confirmed, plan.generation)

    async def published(self) -> TrafficPlan | None:
        return self.world.plan

    async def plans(self) -> AsyncIterator[TrafficPlan]:
        yield self.world.plan

    async def report(self, report: ProxyReport) -> None:
        raise AssertionError("only agents report")

    async def reports(self) -> list[ProxyReport]:
        world = self.world
        world.tally()
        counts = {name: world.arm_counts(name) for name in world.counts}
        return [ProxyReport("envoy-0", self.confirmed, world.clock(), counts, None)]

    async def remove_proxy(self, proxy: str) -> None:
        raise AssertionError("nobody asked for that")


class _Lease:
    async def remaining(self) -> float:
        return 30.0


class FakeApplications:
    def __init__(self, world: World) -> None:
        self.world = world

    async def add(self, desired: Desired) -> None:
        name = desired.spec.name
        if name not in self.world.applications:
            self.world.applications[name] = desired.spec
            self.world.replicas[name], self.world.full[name] = desired.replicas, desired.full
        self.world.sample()

    async def remove(self, name: str) -> None:
        self.world.applications.pop(name, None)
        self.world.sample()

    async def scale(self, replicas: Mapping[str, int]) -> None:
        self.world.replicas.update(replicas)

    async def one(self, name: str) -> Desired | None:
        return next((each for each in await self.all() if each.spec.name == name), None)

    async def all(self) -> list[Desired]:
        world = self.world
        return [Desired(spec, world.replicas[name], world.full[name]) for name, spec in world.applications.items()]

    async def orphans(self) -> list[ApplicationSpec]:
        return []

    async def set_aside(self, name: str, reason: str) -> None:
        await self.remove(name)

    @contextlib.asynccontextmanager
    async def writer_lease(self, holder: str) -> AsyncIterator[WriterLease]:
        yield _Lease()


class FakeCapacity:
    """Implements both `Capacity` and `Planning`."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def holdings(self) -> list[Holding]:
        world = self.world
        routed = world.plan.applications
        return [
            Holding(
                application=name,
                environment=spec.environment,
                model=spec.model,
                version=spec.version,
                team=world.team,
                size=size_of(spec.resources),
                replicas=world.replicas[name],
                full=world.full[name],
                spare=name not in routed,
                scales_by_load=spec.resources.scales_by_load,
            )
            for name, spec in world.applications.items()
        ]

    async def team(self, model: str) -> str | None:
        return self.world.team

    @contextlib.asynccontextmanager
    async def planning(self) -> AsyncIterator[Planning]:
        yield self

    async def promise(
        self, candidate: Desired, *, reserved: int, stable: Mapping[str, int], retire: Collection[str]
    ) -> None:
        world, name = self.world, candidate.spec.name
        world.applications[name] = candidate.spec
        world.replicas.update({name: candidate.replicas, **stable})
        world.full[name] = candidate.full
        for each in retire:
            world.applications.pop(each)
        world.gpus = world.gpus_after_plan if world.gpus_after_plan is not None else world.gpus
        world.sample()


class FakeCluster:
    def __init__(self, world: World) -> None:
        self.world = world

    async def put(self, applications: Sequence[Desired]) -> None:
        await self.world.work()

    async def applications(self) -> dict[str, ApplicationState]:
        if self.world.ray_is_away:
            await asyncio.sleep(60)
        self.world.settle()
        health = ApplicationHealth.RUNNING
        if self.world.replicas_hang:
            health = ApplicationHealth.STARTING
        if self.world.replicas_fail:
            health = ApplicationHealth.FAILED
        found = {}
        for name in self.world.applications:
            targets = tuple(f"127.0.0.1:{port}" for port in range(1, 1 + self.world.running.get(name, 0)))
            if self.world.replicas[name] > 0:
                found[name] = ApplicationState(name, health, self.world.replicas_fail or self.world.ray_says, targets)
        return found

    async def resources(self) -> Cluster:
        return Cluster((Node(Amount.of(gpus=self.world.gpus or 0, cpus=1_000)),))


class FakeInspector:
    def __init__(self, world: World) -> None:
        self.world = world

    async def inspect(self, uri: str, *, framework: Framework, expected_sha256: str | None) -> Inspection:
        return Inspection(ArtifactRef(uri, "0" * 64, 1), SCHEMA, SCHEMA)

    async def validate(self, version: VersionRef) -> ValidationReport:
        await self.world.work()
        return self.world.report


class FakeProbe:
    def __init__(self, world: World | None = None) -> None:
        self.world = world
        self.asked = 0

    async def warm_up(self, spec: ApplicationSpec, targets: Sequence[str]) -> None:
        if self.world is None:
            return
        if self.world.replicas_crash:
            self.asked += 1
            raise ConnectionRefusedError(f"nobody listens there, after start {self.asked}")
        self.world.warmed_up.append(f"{spec.name}: {len(targets)}")


STABLE = Arm("Production-fraud-stable", "1.0.0", "dep-stable")


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
