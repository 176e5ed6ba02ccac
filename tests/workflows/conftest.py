"""A worker with the real workflows and activities, over one fake per port, on a real Temporal server."""

import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer

from hotswap.analysis.backtest import compare
from hotswap.deployments.capacity import CapacityRules, Planner
from hotswap.domain.application import ApplicationSpec
from hotswap.domain.approval import FourEyes
from hotswap.domain.promotion import PromotionRule
from hotswap.domain.registry import DeploymentBrief
from hotswap.domain.traffic import Fence, Route, TrafficPlan
from hotswap.messages import DeploymentInput, DeploymentOutcome, watch_queue
from hotswap.process.temporal import DATA_CONVERTER
from hotswap.schemas.strategy import CanaryConfig
from tests.fixtures.patience import scaled, until
from tests.workflows.fake_serving import (
    FakeApplications,
    FakeAsker,
    FakeCapacity,
    FakeCluster,
    FakeInspector,
    FakeProbe,
)
from tests.workflows.fakes import (
    FakeActivationHistory,
    FakeBacktests,
    FakeBus,
    FakeConcurrencySlots,
    FakeDeploymentQueue,
    FakeDeployments,
    FakeObservations,
    FakePlans,
    FakeQueueNotifications,
    FakeRegistry,
    FakeStickyCallers,
)
from tests.workflows.watchtower import FakeAnnouncer, FakeMonitor, FakeRollbacks
from tests.workflows.world import World, rollout_brief
from workflows.worker import SANDBOX, WORKFLOWS, Ports, workers


class Rollout:
    """One deployment under test: its world, and the workflow that works on it."""

    def __init__(self, world: World, handle: WorkflowHandle[Any, DeploymentOutcome]) -> None:
        self.world = world
        self.handle = handle

    async def until(self, condition: Any, *, seconds: float = 20) -> None:
        await until(
            lambda: condition(self.world),
            seconds=seconds,
            every=0.02,
            what=lambda: f"it, after statuses {self.world.statuses},",
        )

    async def refusal(self, verb: str, **said: Any) -> str:
        """The message with which the update is refused before it is accepted, so that no event is left of it."""
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await self.handle.execute_update(verb, said)
        assert isinstance(refused.value.cause, ApplicationError)
        return refused.value.cause.message

    async def bakes_at(self, *weights: int) -> None:
        """Wait until these are its weights so far, and the bake of the last has begun: its watch has observed."""
        await self.until(lambda world: world.weights == list(weights))
        before = len(self.world.observations)
        await self.until(lambda world: any(bake.weight == weights[-1] for bake, _ in world.observations[before:]))


def ports_of(world: World) -> Ports:
    """One fake for each port, over this world."""
    plans = FakePlans(world)
    bus = FakeBus(world)
    bus.confirmed = world.plan.generation
    return Ports(
        registrar=FakeRegistry(world),
        registry=FakeRegistry(world),
        deployments=FakeDeployments(world, plans),
        activation_history=FakeActivationHistory(world),
        plans=plans,
        bus=bus,
        applications=FakeApplications(world),
        cluster=FakeCluster(world),
        planner=Planner(
            FakeCapacity(world),
            FakeCluster(world),
            FakeCluster(world),
            CapacityRules(cluster_grows=world.gpus is None),
        ),
        inspector=FakeInspector(world),
        probe=FakeProbe(world),
        backtests=FakeBacktests(world),
        asker=FakeAsker(world),
        compare=compare,
        judge=world.judge,
        observations=FakeObservations(world),
        meters=world.meters,
        sticky_callers=FakeStickyCallers(),
        slots=FakeConcurrencySlots(world),
        queue=FakeDeploymentQueue(world),
        queue_notifications=FakeQueueNotifications(world),
        monitor=FakeMonitor(),
        alerts=world.alerts,
        rollbacks=FakeRollbacks(),
        announcer=FakeAnnouncer(),
        settle_seconds=2.0,
    )


class Stage:
    """Starts rollouts, each with a queue of its own so that tests don't meet."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @contextlib.asynccontextmanager
    async def rollout(
        self,
        *,
        brief: DeploymentBrief | None = None,
        config: dict[str, Any] | None = None,
        approval: bool = False,
        queue_deadline: timedelta = timedelta(days=1),
        serving: Sequence[ApplicationSpec] = (),
        promotion: PromotionRule | None = None,
        four_eyes: FourEyes | None = None,
        emergency: str | None = None,
        attended: bool = True,
        **switches: Any,
    ) -> AsyncIterator[Rollout]:
        brief = brief or rollout_brief()
        world = World(brief=brief, clock=time.time, **switches)
        if brief.stable is not None:
            world.route = Route(brief.environment, "fraud", brief.stable, None, 0, Fence(0, 0))
            world.plan = TrafficPlan(1, (world.route,))
        for each in serving:
            world.serve(each)
        ports = ports_of(world)
        model = f"fraud-{uuid.uuid4().hex[:6]}"
        ramp = {} if "steps" in (config or {}) else {"canaryPercentage": 50, "incrementStep": 50}
        settings = {
            **ramp,
            "monitoringDuration": "PT1S",
            "bakeDeadline": "PT3S",
            "progressDeadline": "PT5S",
            "minimumRequests": 20,
            **(config or {}),
        }
        settings |= {name: scaled(value) for name, value in settings.items() if name.endswith("Deadline")}
        async with contextlib.AsyncExitStack() as stack:
            for worker in workers(self.client, ports, task_queue=model) if attended else ():
                if not (world.is_unwatched and worker.task_queue == watch_queue(model)):
                    await stack.enter_async_context(worker)
            handle = await self.client.start_workflow(
                "Deployment",
                DeploymentInput(
                    deployment_id=brief.deployment_id,
                    kind=brief.kind,
                    environment=brief.environment,
                    model="fraud",
                    version=brief.candidate.version,
                    initiated_by="ann",
                    config=CanaryConfig.model_validate(settings),
                    approval_required=approval,
                    promotion=promotion,
                    four_eyes=four_eyes,
                    keep_previous=timedelta(hours=1),
                    queue_deadline=queue_deadline,
                    emergency=emergency,
                ),
                id=f"deployment/{model}",
                task_queue=model,
                result_type=DeploymentOutcome,
            )
            yield Rollout(world, handle)
            await self.replay(handle)

    async def replay(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Whatever a test made happen, the same code answers the history of every run with the same commands."""
        replayer = Replayer(workflows=WORKFLOWS, workflow_runner=SANDBOX, data_converter=DATA_CONVERTER)
        for run in await self.runs(handle):
            await replayer.replay_workflow(run)

    async def runs(self, handle: WorkflowHandle[Any, Any]) -> list[WorkflowHistory]:
        """The histories of the first run and of those that continued it; a reset begins a chain of its own."""
        found: list[WorkflowHistory] = []
        run_id = handle.result_run_id
        while run_id:
            found.append(await self.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history())
            run_id = found[-1].events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        return found


@pytest.fixture(scope="session")
def stage(temporal_client: Client) -> Stage:
    return Stage(temporal_client)
