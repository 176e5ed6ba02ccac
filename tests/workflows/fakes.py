"""One fake behind each port, over a world that a test makes (`world.py`)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any

from hotswap.domain.analysis import Bake, Entities, Look, Subject
from hotswap.domain.application import (
    ApplicationHealth,
    ApplicationSpec,
    ApplicationState,
    ArtifactRef,
    Desired,
)
from hotswap.domain.capacity import size_of
from hotswap.domain.demand import Holding
from hotswap.domain.errors import Forbidden, StaleFence
from hotswap.domain.lifecycle import DeploymentStatus, check_transition
from hotswap.domain.promotion import Tenure
from hotswap.domain.queueing import Entry, Place, Standing
from hotswap.domain.registry import (
    DeploymentBrief,
    Inspection,
    Registration,
    Unfinished,
    VersionRef,
)
from hotswap.domain.resources import Amount, Cluster, Node
from hotswap.domain.traffic import Fence, ProxyReport, Route, TrafficChange, TrafficPlan
from hotswap.domain.validation import Override, ValidationReport
from hotswap.domain.verdict import Reason, Verdict
from hotswap.domain.vocabulary import Environment, Framework
from hotswap.ports import Planning, WriterLease
from tests.workflows.world import SCHEMA, World, version_ref


class FakeRegistry:
    def __init__(self, world: World) -> None:
        self.world = world

    async def add_version(self, registration: Registration, inspection: Inspection) -> VersionRef:
        return version_ref(registration.version)

    async def version_exists(self, model: str, version: str) -> bool:
        return False

    async def store_validation(self, deployment_id: str, version_id: str, report: ValidationReport) -> None:
        pass

    async def validation_override(self, version_id: str) -> Override | None:
        return self.world.override


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
        self,
        deployment_id: str,
        *,
        decision_id: str,
        kind: str,
        actor: str,
        message: str,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        self.world.decisions.append((kind, actor, message))

    async def check_proof(self, deployment_id: str, *, step: int, by: str, proof: str | None) -> None:
        if proof is None or proof != self.world.proofs.get(by):
            raise Forbidden(f"nothing proves that {by} approved {deployment_id}")

    async def approve(
        self,
        deployment_id: str,
        *,
        step: int,
        by: str,
        claimed: bool,
        reason: str | None = None,
        proof: str | None = None,
    ) -> None:
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
        replicas = {name: number for name, number in world.running.items() if number}
        return [ProxyReport("envoy-0", self.confirmed, world.clock(), counts, replicas=replicas)]

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
        if world.held_planning:
            world.reached.set()
            await world.released.wait()


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

    async def inspect(
        self, uri: str, *, framework: Framework, expected_sha256: str | None, requirements: Sequence[str] = ()
    ) -> Inspection:
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
