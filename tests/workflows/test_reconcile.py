"""What a terminate leaves: rows, traffic and replicas, put right by the schedule or by the next deployment.

Real Temporal, real PostgreSQL; only Ray, the proxies and the artifacts are fakes.
"""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from hotswap.analysis.judge import StepJudging
from hotswap.domain.application import ApplicationHealth, ApplicationSpec, ApplicationState, Desired
from hotswap.domain.application import ReplicaResources as Resources
from hotswap.domain.deployments import Deployment, NewDeployment
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.registry import DeploymentBrief
from hotswap.domain.traffic import Route, Withdrawal
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy
from hotswap.messages import DeploymentInput, DeploymentOutcome
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.reading import PostgresRegistryReader
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from hotswap.schemas.strategy import CanaryConfig, StepConfig
from tests.fixtures.patience import until
from tests.fixtures.rows import admitted
from tests.workflows.many import ports, register
from tests.workflows.world import World, rollout_brief
from workflows.worker import workers

CANARY = CanaryConfig(canary_percentage=10, monitoring_duration=timedelta(minutes=1))
UNWATCHED = CanaryConfig.model_validate({"firstVersion": {"monitoringDuration": "PT0S"}})
TESTERS_FIRST = CanaryConfig(steps=(StepConfig(weight=0, bake=timedelta(0), pause=True), StepConfig(weight=100)))


class Cluster:
    """Runs at once whatever it is told to run."""

    def __init__(self) -> None:
        self.desired: tuple[Desired, ...] = ()

    @property
    def specs(self) -> tuple[ApplicationSpec, ...]:
        return tuple(each.spec for each in self.desired)

    async def put(self, applications: Sequence[Desired]) -> None:
        self.desired = tuple(each for each in applications if each.replicas > 0)

    async def applications(self) -> dict[str, ApplicationState]:
        return {
            each.spec.name: ApplicationState(
                each.spec.name,
                ApplicationHealth.RUNNING,
                "",
                tuple(f"127.0.0.1:{port + 1}" for port in range(each.replicas)),
            )
            for each in self.desired
        }


@dataclass
class Site:
    client: Client
    sessions: Sessions
    cluster: Cluster
    proxies: World
    model: str

    async def deploy(
        self,
        version: str,
        *,
        start: bool = True,
        kind: DeploymentKind = DeploymentKind.ROLLOUT,
        config: CanaryConfig = CANARY,
    ) -> tuple[str, WorkflowHandle[Any, Any]]:
        row = await admitted(
            self.sessions,
            NewDeployment(
                model=self.model,
                version=version,
                environment=Environment.PRODUCTION,
                strategy=Strategy.CANARY,
                strategy_config={},
                resources=Resources(),
                initiated_by="ann",
                kind=kind,
            ),
        )
        deployment_id = row.deployment_id
        if not start:
            return deployment_id, self.client.get_workflow_handle(row.workflow_id)
        handle = await self.client.start_workflow(
            "Deployment",
            DeploymentInput(
                deployment_id=deployment_id,
                kind=kind,
                environment=Environment.PRODUCTION,
                model=self.model,
                version=version,
                initiated_by="ann",
                config=config,
                keep_previous=timedelta(hours=1),
            ),
            id=row.workflow_id,
            task_queue=self.model,
            result_type=DeploymentOutcome,
        )
        return deployment_id, handle

    async def reconcile(self) -> list[str]:
        started: list[str] = await self.client.execute_workflow(
            "Reconcile", id=f"reconcile/{self.model}", task_queue=self.model, result_type=list[str]
        )
        return started

    async def row(self, deployment_id: str) -> Deployment:
        return await PostgresDeploymentReader(self.sessions).deployment(deployment_id)

    async def route(self) -> Route:
        return (await PostgresTrafficPlans(self.sessions).current()).routes[0]

    async def until(self, deployment_id: str, condition: Callable[[Deployment], bool], *, seconds: float = 20) -> None:
        row = await self.row(deployment_id)

        async def holds() -> bool:
            nonlocal row
            row = await self.row(deployment_id)
            return condition(row)

        await until(holds, seconds=seconds, what=lambda: f"it, while {deployment_id} is {row.status} ({row.message}),")

    async def lose(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Terminated, and long enough ago that nobody is about to start it."""
        with contextlib.suppress(RPCError):
            await handle.terminate("a slip of the hand")
        async with self.sessions.begin() as session:
            await session.execute(text("UPDATE deployments SET started_at = started_at - interval '5 minutes'"))

    async def actions(self, deployment_id: str) -> list[str]:
        async with self.sessions() as session:
            found = await session.scalars(
                text("SELECT action FROM audit_events WHERE target_id = :id ORDER BY id"), {"id": deployment_id}
            )
            return list(found)


@pytest.fixture
async def site(temporal_client: Client, sessions: Sessions) -> AsyncIterator[Site]:
    """A model with a stable version 1.0.0, and a worker."""
    model = f"fraud-{uuid.uuid4().hex[:6]}"
    cluster, proxies = Cluster(), World(brief=rollout_brief(), clock=time.time)
    await register(sessions, model, "1.0.0", "2.0.0", "3.0.0")
    given = ports(sessions, limit=5, cluster=cluster, proxies=proxies, judge=StepJudging)
    async with contextlib.AsyncExitStack() as stack:
        for worker in workers(temporal_client, given, task_queue=model):
            await stack.enter_async_context(worker)
        made = Site(temporal_client, sessions, cluster, proxies, model)
        _, first = await made.deploy("1.0.0", config=UNWATCHED)
        assert (await first.result()).status == S.ACTIVE
        yield made


async def test_a_terminated_deployment_is_rolled_back_by_the_reconciler(site: Site) -> None:
    lost, handle = await site.deploy("2.0.0")
    await site.until(lost, lambda row: row.verified_weight == 1_000)
    await site.lose(handle)
    assert await site.reconcile() == [f"deployment/Production/{site.model}"]
    await site.until(lost, lambda row: row.status == S.ROLLED_BACK)
    row = await site.row(lost)
    assert (row.reason, row.verified_weight) == (Reason.WORKFLOW_LOST, 0)
    assert row.is_rolled_back
    route = await site.route()
    assert route.stable is not None
    assert (route.stable.version, route.candidate) == ("1.0.0", None)
    assert [spec.version for spec in site.cluster.specs] == ["1.0.0"]
    assert {"status RollingBack", "status RolledBack"} <= set(await site.actions(lost))
    assert await site.reconcile() == []


async def test_whose_candidate_a_person_took_out_at_a_proxy_is_aborted_in_his_name(site: Site) -> None:
    under_way, _ = await site.deploy("2.0.0")
    await site.until(under_way, lambda row: row.verified_weight == 1_000)
    route = await site.route()
    assert route.candidate is not None
    site.proxies.withdrawals = (
        Withdrawal(route.environment, site.model, under_way, "2.0.0", route.fence, "eve", "errors at checkout", 1.0),
        Withdrawal(route.environment, "gone", "dep-gone", "2.0.0", route.fence, "eve", "it has ended", 1.0),
    )
    await site.reconcile()
    await site.until(under_way, lambda row: row.status == S.ROLLED_BACK)
    row = await site.row(under_way)
    assert row.reason == Reason.ABORTED
    assert row.message is not None
    assert "aborted, by eve" in row.message
    assert "taken out at a proxy: errors at checkout" in row.message


async def scaled_down(site: Site) -> str:
    """As a deployment that was lost half-way may leave it: the stable has one of the two replicas that it needs."""
    stable = (await site.route()).stable
    assert stable is not None
    async with site.sessions.begin() as session:
        await session.execute(
            text("UPDATE desired_applications SET replicas = 1, full_replicas = 2 WHERE name = :name"),
            {"name": stable.application},
        )
    return stable.application


async def test_a_stable_that_a_lost_deployment_left_too_small_gets_its_replicas_back(site: Site) -> None:
    lost, handle = await site.deploy("2.0.0")
    await site.until(lost, lambda row: row.verified_weight == 1_000)
    stable = await scaled_down(site)
    await site.lose(handle)
    await site.reconcile()
    await site.until(lost, lambda row: row.status == S.ROLLED_BACK)
    assert {each.spec.name: each.replicas for each in site.cluster.desired} == {stable: 2}
    assert (await site.route()).shed == 0


async def test_so_it_does_before_the_next_deployment_goes_on(site: Site) -> None:
    lost, handle = await site.deploy("2.0.0")
    await site.until(lost, lambda row: row.verified_weight == 1_000)
    stable = await scaled_down(site)
    await handle.terminate("a slip of the hand")
    following, handle = await site.deploy("3.0.0")
    await site.until(following, lambda row: row.verified_weight == 1_000)
    running = {each.spec.name: each.replicas for each in site.cluster.desired}
    assert (running.pop(stable), list(running.values())) == (2, [1]), "what was left behind has made room"
    await handle.signal("abort", {"by": "ann"})
    assert (await handle.result()).status == S.ROLLED_BACK


async def test_what_was_lost_while_testers_alone_had_it_ends_without_a_weight(site: Site) -> None:
    lost, handle = await site.deploy("2.0.0", config=TESTERS_FIRST)
    await site.until(lost, lambda row: row.status == S.PAUSED)
    candidate = (await site.route()).candidate
    assert candidate is not None
    assert candidate.version == "2.0.0"
    await site.lose(handle)
    assert await site.reconcile() == [f"deployment/Production/{site.model}"]
    await site.until(lost, lambda row: row.status == S.FAILED)
    row = await site.row(lost)
    assert (row.reason, row.verified_at, row.is_rolled_back) == (Reason.WORKFLOW_LOST, None, False)
    assert (await site.route()).candidate is None
    assert [spec.version for spec in site.cluster.specs] == ["1.0.0"]


async def test_the_next_deployment_ends_what_testers_alone_had_without_a_weight(site: Site) -> None:
    lost, handle = await site.deploy("2.0.0", config=TESTERS_FIRST)
    await site.until(lost, lambda row: row.status == S.PAUSED)
    await handle.terminate("a slip of the hand")
    following, handle = await site.deploy("3.0.0")
    await site.until(following, lambda row: row.verified_weight == 1_000)
    assert (await site.row(lost)).status == S.FAILED
    await handle.signal("abort", {"by": "ann"})
    assert (await handle.result()).status == S.ROLLED_BACK


async def test_the_reconciler_leaves_alone_what_runs(site: Site) -> None:
    running, handle = await site.deploy("2.0.0")
    await site.until(running, lambda row: row.verified_weight == 1_000)
    async with site.sessions.begin() as session:
        await session.execute(text("UPDATE deployments SET started_at = started_at - interval '5 minutes'"))
    assert await site.reconcile() == []
    assert (await site.row(running)).status == S.PROGRESSING
    await handle.signal("abort", {"by": "ann"})
    assert (await handle.result()).status == S.ROLLED_BACK


async def test_a_deployment_that_never_got_a_workflow_is_closed_but_not_at_once(site: Site) -> None:
    accepted, handle = await site.deploy("2.0.0", start=False)
    assert await site.reconcile() == []
    await site.lose(handle)
    await site.reconcile()
    await site.until(accepted, lambda row: row.status == S.FAILED)
    row = await site.row(accepted)
    assert (row.reason, row.progress_percentage) == (Reason.WORKFLOW_LOST, 0)
    assert [spec.version for spec in site.cluster.specs] == ["1.0.0"]


async def test_a_deployment_lost_after_its_promotion_is_finished(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = PostgresDeployments.transition
    never = asyncio.Event()

    async def stuck(self: PostgresDeployments, deployment_id: str, status: S, **told: Any) -> None:
        if status is S.ACTIVE and not never.is_set():
            await never.wait()
            raise ConnectionError("who was stuck comes too late")
        await real(self, deployment_id, status, **told)

    monkeypatch.setattr(PostgresDeployments, "transition", stuck)
    lost, handle = await site.deploy("2.0.0", kind=DeploymentKind.ROLLBACK)
    await site.until(lost, lambda row: row.status == S.PROMOTING and row.verified_weight == 10_000)
    while (await PostgresRegistryReader(site.sessions).model(site.model)).model.active_version != "2.0.0":
        await asyncio.sleep(0.05)
    await site.lose(handle)
    never.set()
    await site.reconcile()
    await site.client.get_workflow_handle((await site.row(lost)).workflow_id).result()
    assert (await site.row(lost)).status == S.ACTIVE
    route = await site.route()
    assert route.stable is not None
    assert route.stable.version == "2.0.0"
    orphan = next(spec.name for spec in site.cluster.specs if spec.version == "1.0.0")
    retirement = await site.client.get_workflow_handle(f"retirement/{orphan}").describe()
    assert retirement.close_time is None
    await site.client.get_workflow_handle(f"retirement/{orphan}").terminate()


async def test_the_next_deployment_takes_back_what_a_lost_one_left(site: Site) -> None:
    lost, handle = await site.deploy("2.0.0")
    await site.until(lost, lambda row: row.verified_weight == 1_000)
    await handle.terminate("a slip of the hand")
    following, handle = await site.deploy("3.0.0")
    await site.until(following, lambda row: row.verified_weight == 1_000)
    row = await site.row(lost)
    assert (row.status, row.reason) == (S.ROLLED_BACK, Reason.WORKFLOW_LOST)
    assert following in (row.message or "")
    assert "status RolledBack" in await site.actions(lost)
    await handle.signal("abort", {"by": "ann"})
    assert (await handle.result()).status == S.ROLLED_BACK
    route = await site.route()
    assert route.stable is not None
    assert (route.stable.version, route.candidate) == ("1.0.0", None)
    left = next(spec.name for spec in site.cluster.specs if spec.version == "2.0.0")
    assert await site.reconcile() == [f"retirement/{left}"]
    await site.client.get_workflow_handle(f"retirement/{left}").terminate()


@pytest.mark.parametrize("way", ["abort", "cancel"])
async def test_a_deployment_that_ends_while_it_opens_takes_back_what_a_lost_one_left(
    site: Site, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    lost, handle = await site.deploy("2.0.0")
    await site.until(lost, lambda row: row.verified_weight == 1_000)
    await handle.terminate("a slip of the hand")
    opened, answers = asyncio.Event(), asyncio.Event()
    at_once = PostgresDeployments.open

    async def slowly(deployments: PostgresDeployments, deployment_id: str, *, run_id: str) -> DeploymentBrief:
        brief = await at_once(deployments, deployment_id, run_id=run_id)
        opened.set()
        await answers.wait()
        return brief

    monkeypatch.setattr(PostgresDeployments, "open", slowly)
    following, handle = await site.deploy("3.0.0")
    await opened.wait()
    await (handle.signal("abort", {"by": "ann"}) if way == "abort" else handle.cancel())
    await asyncio.sleep(0.5)
    answers.set()
    with contextlib.nullcontext() if way == "abort" else pytest.raises(WorkflowFailureError):
        await handle.result()
    assert (await site.row(following)).status == S.CANCELLED
    assert "status RollingBack" in await site.actions(following)
    assert (await site.route()).candidate is None


async def test_a_run_for_a_deployment_that_has_ended_does_nothing(site: Site) -> None:
    ended, handle = await site.deploy("2.0.0")
    await site.until(ended, lambda row: row.verified_weight == 1_000)
    await handle.signal("abort", {"by": "ann"})
    await handle.result()
    before = await site.row(ended)
    again = DeploymentInput(
        deployment_id=ended,
        environment=Environment.PRODUCTION,
        model=site.model,
        version="2.0.0",
        initiated_by="ann",
        recover=True,
    )
    outcome = await site.client.execute_workflow(
        "Deployment", again, id=before.workflow_id, task_queue=site.model, result_type=DeploymentOutcome
    )
    assert outcome.status == S.ROLLED_BACK
    assert (await site.row(ended)).run_id == before.run_id


async def test_what_ray_serve_has_lost_is_given_to_it_again(site: Site) -> None:
    before, site.cluster.desired = site.cluster.specs, ()
    assert before
    await site.reconcile()
    assert site.cluster.specs == before
