"""The way back waits for nobody: not for what hangs in other task queues, nor for a connection that others hold."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool
from temporalio.client import Client, WorkflowHandle

from hotswap.analysis.judge import StepJudging
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.registry import Registration
from hotswap.domain.vocabulary import Framework
from hotswap.messages import RegistrationInput, artifact_queue, way_back_queue
from hotswap.persistence.platform.database import Sessions, create_sessions
from hotswap.settings import PostgresSettings
from tests.fixtures.patience import patient
from tests.workflows.conftest import Rollout, Stage, ports_of
from tests.workflows.many import ports, register
from tests.workflows.test_deployment import LONG, assert_rolled_back
from tests.workflows.test_reconcile import CANARY, UNWATCHED, Cluster, Site
from tests.workflows.world import World, rollout_brief
from workflows.worker import workers

HOSTILE = 120
"""More than a worker has slots for activities, if nobody says how many."""


@asynccontextmanager
async def registrations(client: Client, rollout: Rollout) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Register so many versions, of which none comes to an end; gives one of them."""
    queue = (await rollout.handle.describe()).task_queue
    given = [
        RegistrationInput(
            registration=Registration("fraud", f"9.0.{n}", Framework.ONNX, f"s3://ml-models/{n}", requested_by="eve")
        )
        for n in range(HOSTILE)
    ]
    handles: list[WorkflowHandle[Any, Any]] = list(
        await asyncio.gather(
            *(
                client.start_workflow("Registration", each, id=f"registration/{uuid.uuid4().hex}", task_queue=queue)
                for each in given
            )
        )
    )
    try:
        yield handles[0]
    finally:
        await asyncio.gather(*(handle.terminate() for handle in handles))


async def scheduled(handle: WorkflowHandle[Any, Any]) -> list[tuple[str, str, int]]:
    """Which activity was scheduled in which task queue and with which priority, in order."""
    history = await handle.fetch_history()
    found = (event.activity_task_scheduled_event_attributes for event in history.events)
    return [
        (each.activity_type.name, each.task_queue.name, each.priority.priority_key)
        for each in found
        if each.activity_type.name
    ]


@pytest.mark.parametrize("hangs", ["artifacts", "whatever acts"])
async def test_an_abort_is_not_behind_a_hundred_registrations_that_hang(stage: Stage, hangs: str) -> None:
    is_artifacts = hangs == "artifacts"
    async with stage.rollout(config=LONG) as rollout:
        world = rollout.world
        await rollout.bakes_at(5_000)
        world.held_inspecting, world.held_adding = is_artifacts, not is_artifacts
        slots = ports_of(world).artifacts_at_once if is_artifacts else 100
        queue = (await rollout.handle.describe()).task_queue
        async with registrations(stage.client, rollout) as one:
            await rollout.until(lambda world: world.held == slots)
            assert ("inspect_artifact", artifact_queue(queue), 0) in await scheduled(one)
            await rollout.handle.signal("abort", {"by": "ann"})
            outcome = await asyncio.wait_for(rollout.handle.result(), patient(10))
            assert world.held == slots, "they hang still, and no more of them at a time"
        assert outcome.status is S.ROLLED_BACK
        assert_rolled_back(rollout)
        found = await scheduled(rollout.handle)
        assert ("validate_version", artifact_queue(queue), 1) in found, "before what is only registered"
        back = [name for name, _, _ in found].index("withdraw_candidate")
        assert {where for _, where, _ in found[back:]} == {way_back_queue(queue)}
        world.released.set()


@pytest.fixture
async def narrow(postgres_url: str) -> AsyncIterator[Sessions]:
    """The sessions of a worker that has few connections."""
    settings = PostgresSettings(url=SecretStr(postgres_url), pool_size=2, way_back_pool_size=1)
    made = create_sessions(settings)
    yield made
    await made.aclose()


async def held(engine: AsyncEngine, stack: AsyncExitStack) -> None:
    """Take every connection of the pool, as soon as it is given back, and keep it."""
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    for _ in range(2 * pool.size()):  # it may grow by as much again
        await stack.enter_async_context(engine.connect())


async def test_an_abort_is_carried_out_while_others_have_every_connection(
    temporal_client: Client, sessions: Sessions, narrow: Sessions
) -> None:
    model = f"fraud-{uuid.uuid4().hex[:6]}"
    cluster, proxies = Cluster(), World(brief=rollout_brief(), clock=time.time)
    await register(sessions, model, "1.0.0", "2.0.0")
    given = ports(narrow, limit=5, cluster=cluster, proxies=proxies, judge=StepJudging)
    site = Site(temporal_client, sessions, cluster, proxies, model)
    async with AsyncExitStack() as running:
        for worker in workers(temporal_client, given, task_queue=model):
            await running.enter_async_context(worker)
        _, first = await site.deploy("1.0.0", config=UNWATCHED)
        assert (await first.result()).status == S.ACTIVE
        deployment, handle = await site.deploy("2.0.0", config=CANARY)
        await site.until(deployment, lambda row: row.verified_weight == 1_000)
        async with AsyncExitStack() as others, asyncio.timeout(patient(60)):
            await held(narrow.engine, others)
            await handle.signal("abort", {"by": "ann"})
            assert (await handle.result()).status == S.ROLLED_BACK
            route = await site.route()
            assert route.stable is not None
            assert (route.stable.version, route.candidate) == ("1.0.0", None)
            assert [spec.version for spec in cluster.specs] == ["1.0.0"]
