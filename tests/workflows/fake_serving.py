"""Fakes of what serves, over the same world as `fakes.py`: artifacts, applications, the cluster and its room."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace

from hotswap.domain.application import (
    ApplicationHealth,
    ApplicationSpec,
    ApplicationState,
    ArtifactRef,
    Desired,
)
from hotswap.domain.backtest import RecordedRequest, Reply
from hotswap.domain.capacity import size_of
from hotswap.domain.demand import Holding
from hotswap.domain.errors import Conflict, Unavailable
from hotswap.domain.registry import (
    Inspection,
    VersionRef,
)
from hotswap.domain.resources import Amount, Cluster, Node
from hotswap.domain.validation import ValidationReport
from hotswap.domain.vocabulary import Framework
from hotswap.ports import Planning, WriterLease
from tests.workflows.world import SCHEMA, World, as_recorded


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
        if name in self.world.plan.applications:
            raise Conflict(f"{name} still takes part in a route")
        self.world.applications.pop(name, None)
        self.world.sample()

    async def scale(self, replicas: Mapping[str, int], *, deployment_id: str | None = None) -> None:
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
        self,
        candidate: Desired,
        *,
        reserved: int,
        stable: Mapping[str, int],
        retire: Collection[str],
        deployment_id: str | None = None,
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

    async def resize(
        self, application: str, *, deployment_id: str, replicas: int, by: str, reason: str | None
    ) -> Desired:
        raise NotImplementedError("people scale what serves, a deployment never does")


class FakeCluster:
    def __init__(self, world: World) -> None:
        self.world = world

    async def put(self, applications: Sequence[Desired]) -> None:
        await self.world.work()

    async def applications(self) -> dict[str, ApplicationState]:
        while self.world.ray_is_away:
            await asyncio.sleep(0.05)
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
        if self.world.held_inspecting:
            await self.world.hold()
        return Inspection(ArtifactRef(uri, "0" * 64, 1), SCHEMA, SCHEMA)

    async def validate(self, version: VersionRef) -> ValidationReport:
        if self.world.held_inspecting:
            await self.world.hold()
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


class FakeAsker:
    """The stable answers as it did; what the candidate does, the world says."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def ask(self, application: str, model: str, target: str, request: RecordedRequest) -> Reply:
        world = self.world
        if world.held_asking:
            world.reached.set()
            await world.released.wait()
        is_stable = world.brief.stable is not None and application == world.brief.stable.application
        if is_stable and world.stable_is_down:
            raise Unavailable(f"nobody answers at {target}")
        if world.asker_dies and len(world.asked_again) >= 10:
            world.asker_dies -= 1
            raise MemoryError
        world.asked_again.append((application, request.request_id))
        if world.is_full and world.at_full is not None:
            seconds = world.at_full[is_stable] / 1000
            return replace(as_recorded(request), seconds=seconds, model_seconds=seconds)
        return as_recorded(request) if is_stable else world.candidate_replies(request)
