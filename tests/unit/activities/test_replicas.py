"""Converging Ray Serve to the rows: a writer who freezes with a PUT in hand, many at once, builds under way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from temporalio.testing import ActivityEnvironment

from activities import convergence
from activities.replicas import ReplicaActivities
from hotswap.domain.application import (
    ApplicationHealth,
    ApplicationSpec,
    ApplicationState,
    Desired,
    ReplicaResources,
)
from hotswap.domain.vocabulary import Environment, Framework
from hotswap.messages import ScaleReplicas
from hotswap.ports import WriterLease
from tests.fixtures.patience import patient
from tests.workflows.fake_serving import FakeProbe
from tests.workflows.world import World, rollout_brief, version_ref


def spec(name: str) -> ApplicationSpec:
    version = version_ref("2.0.0")
    return ApplicationSpec(
        name=name,
        deployment_id=name,
        environment=Environment.PRODUCTION,
        model="fraud",
        version="2.0.0",
        framework=Framework.ONNX,
        artifact=version.artifact,
        input_schema={},
        output_schema={},
        resources=ReplicaResources(),
        warmup_timeout_seconds=10.0,
    )


class Rows:
    """Rows and a lease that a test can take away from its holder."""

    def __init__(self) -> None:
        self.desired: list[Desired] = []
        self.holder = 0

    async def add(self, desired: Desired) -> None:
        if await self.one(desired.spec.name) is None:
            self.desired.append(desired)

    async def remove(self, name: str) -> None:
        self.desired = [each for each in self.desired if each.spec.name != name]

    async def scale(self, replicas: Mapping[str, int], *, deployment_id: str | None = None) -> None:
        self.desired = [replace(each, replicas=replicas.get(each.spec.name, each.replicas)) for each in self.desired]

    async def one(self, name: str) -> Desired | None:
        return next((each for each in self.desired if each.spec.name == name), None)

    async def all(self) -> list[Desired]:
        return list(self.desired)

    async def orphans(self) -> list[ApplicationSpec]:
        raise NotImplementedError("replicas never ask for orphans")

    async def set_aside(self, name: str, reason: str) -> None:
        await self.remove(name)

    @contextlib.asynccontextmanager
    async def writer_lease(self, holder: str) -> AsyncIterator[WriterLease]:
        self.holder += 1
        yield Lease(self, self.holder)


class Lease:
    def __init__(self, rows: Rows, number: int) -> None:
        self.rows = rows
        self.number = number

    async def remaining(self) -> float:
        return 15.0 if self.rows.holder == self.number else 0.0


class Serve:
    """What was PUT last is what runs; `before_put` is what happens while the first writer is frozen."""

    def __init__(self, before_put: Callable[["Serve"], None]) -> None:
        self.running: list[str] = []
        self.wanted: int | None = None
        self.told: int | None = None
        self.puts = 0
        self.before_put: Callable[[Serve], None] | None = before_put

    async def put(self, applications: Sequence[Desired]) -> None:
        if self.before_put is not None:
            happens, self.before_put = self.before_put, None
            happens(self)
        self.running = [each.spec.name for each in applications]
        self.puts += 1
        await asyncio.sleep(0)

    async def applications(self) -> dict[str, ApplicationState]:
        return {
            name: ApplicationState(name, ApplicationHealth.RUNNING, "", ("127.0.0.1:1",), self.wanted, self.told)
            for name in self.running
        }


async def test_the_reconciler_sees_that_serve_was_told_of_another_number_of_replicas() -> None:
    rows, serve = Rows(), Serve(lambda _: None)
    rows.desired = [
        replace(Desired.at_rest(spec("first")), replicas=2),
        replace(Desired.at_rest(spec("none")), replicas=0),
    ]
    serve.running, serve.wanted, serve.told = ["first"], 1, 2  # it was told, and works towards something else
    environment = ActivityEnvironment()
    activities = ReplicaActivities(rows, serve, FakeProbe())
    assert await environment.run(activities.repair_applications) == ["first"]
    assert serve.puts == 1
    serve.wanted = 2
    serve.running = ["first"]
    assert await environment.run(activities.repair_applications) == []


class OrderlyRows(Rows):
    """Nobody loses the lease, and who wants it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.lease = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def writer_lease(self, holder: str) -> AsyncIterator[WriterLease]:
        async with self.lease, super().writer_lease(holder) as lease:
            yield lease


class BuildingServe:
    """Builds what it is told of for two looks, and begins anew at each PUT, as the real one does."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.puts: list[list[str]] = []
        self.interrupted = 0
        self.built_in = 0

    async def put(self, applications: Sequence[Desired]) -> None:
        self.interrupted += self.built_in > 0
        self.puts.append([each.spec.name for each in applications])
        self.running, self.built_in = self.puts[-1], 2
        await asyncio.sleep(0)

    async def applications(self) -> dict[str, ApplicationState]:
        await asyncio.sleep(0)
        is_building, self.built_in = self.built_in > 0, max(0, self.built_in - 1)
        health = ApplicationHealth.STARTING if is_building else ApplicationHealth.RUNNING
        targets = () if is_building else ("127.0.0.1:1",)
        return {
            name: ApplicationState(name, health, "", targets, told=1, is_building=is_building) for name in self.running
        }


async def test_deployments_that_start_at_once_share_a_put_and_interrupt_no_build() -> None:
    rows, serve = OrderlyRows(), BuildingServe()
    activities = ReplicaActivities(rows, serve, FakeProbe())
    names = [f"app-{number}" for number in range(6)]

    async def start(name: str) -> None:
        environment = ActivityEnvironment()
        environment.info = replace(environment.info, task_queue="test")
        await environment.run(activities.start_replicas, spec(name))

    async with asyncio.timeout(patient(20)):
        await asyncio.gather(*(start(name) for name in names))
    assert serve.running == names
    assert len(serve.puts) < len(names), "those that wait for the lease are written together"
    assert serve.interrupted == 0


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_writer_that_froze_with_a_put_in_hand_repairs_what_it_wrote(cancelled: bool) -> None:
    rows, environment = Rows(), ActivityEnvironment()
    environment.info = replace(environment.info, task_queue="test")

    def another_writes(serve: Serve) -> None:
        rows.holder += 1
        rows.desired.append(Desired.at_rest(spec("second")))
        serve.running = ["first", "second"]
        if cancelled:
            environment.cancel()

    serve = Serve(another_writes)
    world = World(brief=rollout_brief(), clock=lambda: 0.0)
    activities = ReplicaActivities(rows, serve, FakeProbe(world))
    with contextlib.suppress(asyncio.CancelledError):
        await environment.run(activities.start_replicas, spec("first"))
    for _ in range(50):
        await asyncio.sleep(0)
    assert serve.running == ["first", "second"]


class HeldServe:
    """Builds each application for as long as the test says; a PUT begins every build anew, as Ray Serve does."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.building: set[str] = set()
        self.puts: list[set[str]] = []
        self.called_off: list[str] = []
        self.answer_seconds = 0.0

    async def put(self, applications: Sequence[Desired]) -> None:
        named = {each.spec.name: each.replicas for each in applications}
        self.called_off += sorted(self.building)
        self.building |= named.keys() - self.told.keys()
        self.told = named
        self.puts.append(set(named))
        await asyncio.sleep(0)

    async def applications(self) -> dict[str, ApplicationState]:
        await asyncio.sleep(self.answer_seconds)
        return {
            name: ApplicationState(name, ApplicationHealth.STARTING, told=wanted, is_building=True)
            if name in self.building
            else ApplicationState(name, ApplicationHealth.RUNNING, "", ("127.0.0.1:1",) * wanted, told=wanted)
            for name, wanted in self.told.items()
        }


def starting(activities: ReplicaActivities, name: str) -> "asyncio.Task[None]":
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, task_queue="test")
    return asyncio.create_task(environment.run(activities.start_replicas, spec(name)))


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_one_put_serves_all_who_start_at_one_time_and_none_calls_off_what_is_being_built() -> None:
    rows, serve = Rows(), HeldServe()
    world = World(brief=rollout_brief(), clock=lambda: 0.0)
    activities = ReplicaActivities(rows, serve, FakeProbe(world))
    together = [starting(activities, name) for name in ("first", "second", "third")]
    await settle()
    assert serve.puts == [{"first", "second", "third"}]
    late = [starting(activities, name) for name in ("fourth", "fifth")]
    await settle()
    assert len(serve.puts) == 1, "what is being built is let be"
    serve.building.clear()
    await asyncio.gather(*together)
    async with asyncio.timeout(patient(20)):
        while len(serve.puts) == 1:
            await asyncio.sleep(0.01)
    serve.building.clear()
    await asyncio.gather(*late)
    assert serve.puts[1:] == [{"first", "second", "third", "fourth", "fifth"}]
    assert serve.called_off == []


async def test_what_serves_and_needs_more_replicas_does_not_wait_for_a_build() -> None:
    rows, serve = Rows(), HeldServe()
    world = World(brief=rollout_brief(), clock=lambda: 0.0)
    activities = ReplicaActivities(rows, serve, FakeProbe(world))
    rows.desired, serve.told = [Desired.at_rest(spec("serves"))], {"serves": 1}
    start = starting(activities, "candidate")
    await settle()
    assert serve.building == {"candidate"}
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, task_queue="test")
    await environment.run(activities.scale_replicas, ScaleReplicas(replicas={"serves": 2}))
    assert serve.told["serves"] == 2
    assert serve.building == {"candidate"}
    serve.building.clear()
    await start


@pytest.mark.slow
async def test_a_build_that_hangs_does_not_hold_up_the_others_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "PATIENCE_SECONDS", 0.1)
    rows, serve = Rows(), HeldServe()
    world = World(brief=rollout_brief(), clock=lambda: 0.0)
    activities = ReplicaActivities(rows, serve, FakeProbe(world))
    hangs = starting(activities, "hangs")
    await settle()
    late = starting(activities, "late")
    async with asyncio.timeout(patient(20)):
        while "late" not in serve.told:
            await asyncio.sleep(0.01)
    serve.building.clear()
    await asyncio.gather(hangs, late)


async def test_a_serve_that_does_not_say_what_it_was_told_is_told_what_can_not_wait() -> None:
    rows, serve = Rows(), HeldServe()
    world = World(brief=rollout_brief(), clock=lambda: 0.0)
    activities = ReplicaActivities(rows, serve, FakeProbe(world))
    rows.desired, serve.told, serve.answer_seconds = [Desired.at_rest(spec("serves"))], {"serves": 1}, 3_600.0
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, task_queue="test")
    async with asyncio.timeout(patient(20)):
        await environment.run(activities.scale_replicas, ScaleReplicas(replicas={"serves": 2}, wait=False))
    assert serve.told == {"serves": 2}
