"""One fake behind each port, over a world that a test makes (`world.py`); those of what serves: `fake_serving.py`."""

import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import replace
from typing import Any

from hotswap.domain.analysis import BakeRecord, Checkpoint, Entities, Observation, Subject
from hotswap.domain.backtest import BacktestReport, RecordedSample
from hotswap.domain.contract import Contract
from hotswap.domain.deployments import ActiveDeployment
from hotswap.domain.errors import Forbidden, StaleFence
from hotswap.domain.lifecycle import DeploymentStatus, check_transition
from hotswap.domain.promotion import ActivePeriod
from hotswap.domain.proxies import RegisteredProxy
from hotswap.domain.queueing import QueueEntry, QueuePosition, QueueState
from hotswap.domain.registry import (
    DeploymentBrief,
    Inspection,
    Registration,
    Unfinished,
    VersionRef,
)
from hotswap.domain.traffic import Fence, ProxyReport, Route, TrafficChange, TrafficPlan
from hotswap.domain.validation import Override, ValidationReport
from hotswap.domain.verdict import Reason, Verdict
from hotswap.domain.vocabulary import Environment
from tests.fixtures.reports import live
from tests.workflows.world import World, version_ref


class FakeRegistry:
    def __init__(self, world: World) -> None:
        self.world = world

    async def add_version(self, registration: Registration, inspection: Inspection) -> VersionRef:
        if self.world.held_adding:
            await self.world.hold()
        return version_ref(registration.version)

    async def store_validation(self, deployment_id: str, version_id: str, report: ValidationReport) -> None:
        pass

    async def contract_beside(self, deployment_id: str) -> Contract | None:
        return self.world.contract

    async def validation_override(self, version_id: str) -> Override | None:
        return self.world.override


class FakeActivationHistory:
    def __init__(self, world: World) -> None:
        self.world = world

    async def active_period(self, model: str, environment: Environment) -> ActivePeriod:
        assert self.world.active_period is not None
        return self.world.active_period

    async def serving(self, model: str, environment: Environment) -> ActiveDeployment | None:
        raise NotImplementedError("the API asks for this, workflows never do")


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
        world.change_weight(world.route.candidate_weight if world.route else 0, change.candidate_weight)
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

    async def begin_lineage(self, *, after: int) -> TrafficPlan:
        raise AssertionError("no proxy has a newer plan")

    async def proxies(self) -> list[RegisteredProxy]:
        return []


class FakeDeployments:
    def __init__(self, world: World, plans: FakePlans) -> None:
        self.world = world
        self.plans = plans

    async def open(self, deployment_id: str, *, run_id: str) -> DeploymentBrief:
        world = self.world
        await world.work()
        newest = max(world.epochs, key=lambda each: world.epochs[each], default=None)
        if run_id not in world.epochs:
            world.epochs[run_id] = len(world.epochs) + 1
        else:
            newest = next((each for each, epoch in world.epochs.items() if epoch == world.epochs[run_id] - 1), None)
        status = world.statuses[-1] if newest is not None else world.brief.status
        return replace(world.brief, follows=newest, status=status)

    async def unfinished(self) -> list[Unfinished]:
        return []

    async def transition(
        self,
        deployment_id: str,
        status: DeploymentStatus,
        *,
        message: str,
        reason: str | None,
        actor: str,
        run_id: str | None = None,
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
        self,
        deployment_id: str,
        *,
        verified_weight: int,
        progress: int | None,
        message: str,
        run_id: str | None = None,
        sequence: int | None = None,
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


class FakeObservations:
    def __init__(self, world: World) -> None:
        self.world = world

    async def record(
        self, deployment_id: str, bake: BakeRecord, verdict: Verdict, checkpoint: Checkpoint | None = None
    ) -> None:
        self.world.verdicts[bake.step] = verdict
        self.world.observations += [(bake, each) for each in bake.observations]
        if checkpoint is not None:
            self.world.checkpoints[bake.step, bake.begun_at] = checkpoint

    async def checkpoint(self, deployment_id: str, *, step: int, begun_at: float) -> Checkpoint | None:
        return self.world.checkpoints.get((step, begun_at))

    async def past(
        self, deployment_id: str, *, step: int, begun_at: float, after: float | None = None, limit: int
    ) -> list[Observation]:
        own = (each for bake, each in self.world.observations if (bake.step, bake.begun_at) == (step, begun_at))
        return [each for each in own if after is None or each.at > after][:limit]


class FakeBacktests:
    def __init__(self, world: World) -> None:
        self.world = world

    async def sample(self, application: str, *, model: str, most: int) -> RecordedSample:
        if self.world.records_fail:
            self.world.records_fail -= 1
            raise ConnectionError("the database is away")
        return RecordedSample(self.world.recorded[:most])

    async def recent(self, application: str, *, model: str, since: float, most: int) -> RecordedSample:
        if self.world.asked_once is not None:
            return RecordedSample(reason=self.world.asked_once)
        return RecordedSample(self.world.recorded[:most])

    async def store(self, deployment_id: str, report: BacktestReport) -> None:
        self.world.backtests.append(report)


class FakeStickyCallers:
    async def entities(self, subject: Subject) -> Entities:
        return Entities()


class FakeConcurrencySlots:
    """As many slots as anybody wants, unless the world has none."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def places(self, deployment_ids: Collection[str]) -> dict[str, QueuePosition | None]:
        if not self.world.no_slots:
            return dict.fromkeys(deployment_ids)
        self.world.reached.set()
        return dict.fromkeys(deployment_ids, QueuePosition(3, "waits for a slot, as number 3 in line"))


class FakeDeploymentQueue:
    """Whoever is queued stands where the world says."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def states(self, deployment_ids: Collection[str]) -> dict[str, QueueState | None]:
        return dict.fromkeys(deployment_ids, self.world.queue_state)

    async def make_way(self, deployment_id: str) -> tuple[QueueEntry, ...]:
        return self.world.queue_state.overtakes if self.world.queue_state is not None else ()

    async def leave(
        self, deployment_id: str, status: DeploymentStatus, *, reason: Reason, message: str, actor: str
    ) -> bool:
        self.world.queue_state = None
        return True

    async def called(self) -> list[dict[str, Any]]:
        return []


class FakeQueueNotifications:
    """Notifies as often as a test says that the world has changed."""

    def __init__(self, world: World) -> None:
        self.world = world

    @contextlib.asynccontextmanager
    async def listening(self, heard: Callable[[], None]) -> AsyncIterator[None]:
        self.world.notify = heard
        yield


class FakeBus:
    def __init__(self, world: World) -> None:
        self.world = world
        self.confirmed = 0

    async def publish(self, plan: TrafficPlan) -> None:
        if not self.world.proxies_silent:
            self.confirmed = max(self.confirmed, plan.generation)

    async def plans(self) -> AsyncIterator[TrafficPlan]:
        yield self.world.plan

    async def report(self, report: ProxyReport) -> None:
        raise AssertionError("only agents report")

    async def proxies(self) -> list[RegisteredProxy]:
        world = self.world
        world.tally()
        counts = {name: world.arm_counts(name) for name in world.counts}
        replicas = {name: number for name, number in world.running.items() if number}
        active = {name: world.flying(name) for name in world.counts} if world.tells_what_is_active else None
        report = ProxyReport("envoy-0", self.confirmed, world.clock(), counts, replicas=replicas, active=active)
        return live([replace(report, withdrawals=world.withdrawals)])

    async def remove_proxy(self, proxy: str, *, incarnation: str = "") -> bool:
        raise AssertionError("nobody asked for that")
