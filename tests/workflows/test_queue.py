"""Turns and slots with the real workflows: in order, never too many, none lost; over PostgreSQL and Temporal."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Replayer

from api.orchestration import Orchestration
from hotswap.domain.deployments import Deployment
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Role
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.platform.database import Sessions
from hotswap.process.temporal import DATA_CONVERTER
from tests.fixtures.api import make_app
from tests.fixtures.api_settings import bearer, make_settings
from tests.fixtures.patience import patient
from tests.workflows import many
from workflows.worker import SANDBOX, WORKFLOWS, workers

AT_ONCE = {"canaryPercentage": 100, "monitoringDuration": "PT0.05S", "minimumRequests": 1}
LONG = {"canaryPercentage": 50, "incrementStep": 50, "monitoringDuration": "PT5M"}


@dataclass
class Site:
    """The API, and a worker where a test starts one."""

    client: Client
    sessions: Sessions
    http: httpx.AsyncClient
    headers: dict[str, str]
    queue: str

    @asynccontextmanager
    async def worker(self, *, limit: int = 5) -> AsyncIterator[None]:
        async with AsyncExitStack() as running:
            for worker in workers(self.client, many.ports(self.sessions, limit=limit), task_queue=self.queue):
                await running.enter_async_context(worker)
            yield

    async def model(self, *versions: str) -> str:
        name = f"fraud-{secrets.token_hex(4)}"
        await many.register(self.sessions, name, *(versions or ("1.0.0", "2.0.0", "3.0.0")))
        return name

    async def deploy(
        self,
        model: str,
        version: str = "1.0.0",
        *,
        config: dict[str, Any] = LONG,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> str:
        wanted = {"modelId": model, "version": version, "strategyConfig": config, **body}
        answer = await self.http.post("/api/v1/deployments", headers={**self.headers, **(headers or {})}, json=wanted)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["deploymentId"])

    async def served(self) -> str:
        """A model whose 1.0.0 is active."""
        model = await self.model()
        await self.until(await self.deploy(model), lambda row: row.status == S.ACTIVE)
        return model

    async def say(self, deployment_id: str, verb: str, *, headers: Mapping[str, str] | None = None) -> httpx.Response:
        given = {**self.headers, **(headers or {})}
        return await self.http.post(f"/api/v1/deployments/{deployment_id}/{verb}", headers=given)

    async def row(self, deployment_id: str) -> Deployment:
        return await PostgresDeploymentReader(self.sessions).deployment(deployment_id)

    async def until(
        self, deployment_id: str, condition: Callable[[Deployment], bool], *, seconds: float = 40
    ) -> Deployment:
        async with asyncio.timeout(patient(seconds)):
            while not condition(row := await self.row(deployment_id)):
                await asyncio.sleep(0.05)
        return row

    async def count(self, condition: str) -> int:
        async with self.sessions() as session:
            return int(await session.scalar(text(f"SELECT count(*) FROM deployments WHERE {condition}")) or 0)

    async def heartbeat(self, workflow_id: str) -> str:
        """What the Temporal Web UI shows of the activity that is pending."""
        found = (await self.client.get_workflow_handle(workflow_id).describe()).raw_description
        return str([activity.heartbeat_details for activity in found.pending_activities])

    async def reconcile(self) -> list[str]:
        started: list[str] = await self.client.execute_workflow(
            "Reconcile", id=f"reconcile/{self.queue}", task_queue=self.queue, result_type=list[str]
        )
        return started


@pytest.fixture
async def site(temporal_client: Client, sessions: Sessions, tmp_path: Path) -> AsyncIterator[Site]:
    queue = f"queue-{secrets.token_hex(4)}"
    deployments = {"approval_required": ["Staging"], "keep_previous": "PT1H", "first_version_duration": "PT0S"}
    settings = make_settings(tmp_path, deployments=deployments)
    app = make_app(settings, sessions, Orchestration(temporal_client, task_queue=queue))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://hotswap", timeout=patient(60)
    ) as http:
        yield Site(temporal_client, sessions, http, bearer(settings, Role.ADMIN), queue)
    # Whatever a test made happen, the same code answers its history with the same commands.
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=SANDBOX, data_converter=DATA_CONVERTER)
    waited = temporal_client.list_workflows(f"WorkflowType = 'Queue' AND TaskQueue = '{queue}'")
    await replayer.replay_workflows(waited.map_histories())


def at_weight(row: Deployment) -> bool:
    return row.verified_weight == 5_000


def in_line(row: Deployment) -> bool:
    return row.place is not None and row.run_id is not None


def has_ended(row: Deployment) -> bool:
    return S(row.status).is_terminal


async def test_who_finds_no_slot_waits_in_line_and_starts_when_one_is_free(site: Site) -> None:
    async with site.worker(limit=1):
        running = await site.deploy(await site.served(), "2.0.0")
        await site.until(running, at_weight)
        waiting = await site.deploy(await site.model(), config=AT_ONCE)
        row = await site.until(waiting, in_line)
        assert row.status == S.PENDING
        assert row.place is not None
        assert (row.place.position, "1 deployments run" in row.place.message) == (1, True)
        async with asyncio.timeout(patient(15)):
            while "number 1 in line" not in await site.heartbeat(row.workflow_id):
                await asyncio.sleep(0.2)
        assert (await site.say(running, "abort")).status_code == 200
        assert (await site.until(waiting, has_ended)).status == S.ACTIVE


async def test_one_that_waits_for_a_slot_can_be_aborted_and_a_rollback_needs_none(site: Site) -> None:
    async with site.worker(limit=1):
        first, second = await site.served(), await site.served()
        newest = await site.deploy(second, "2.0.0", config=AT_ONCE)
        await site.until(newest, has_ended)
        running = await site.deploy(first, "2.0.0")
        await site.until(running, at_weight)
        waiting = await site.deploy(await site.model(), config=AT_ONCE)
        await site.until(waiting, in_line)
        answer = await site.say(newest, "rollback")
        assert answer.status_code == 202
        row = await site.until(answer.json()["deploymentId"], has_ended)
        assert (row.status, row.version) == (S.ACTIVE, "1.0.0")
        assert (await site.say(waiting, "abort")).status_code == 200
        row = await site.until(waiting, has_ended)
        assert (row.status, row.reason) == (S.CANCELLED, Reason.ABORTED)
        await site.say(running, "abort")


async def test_one_that_awaits_its_approval_holds_no_slot_and_then_waits_for_one(site: Site) -> None:
    async with site.worker(limit=1):
        awaiting = await site.deploy(await site.model(), environment="Staging", config=AT_ONCE)
        await site.until(awaiting, lambda row: row.status == S.AWAITING_APPROVAL)
        running = await site.deploy(await site.served(), "2.0.0")
        await site.until(running, at_weight)
        assert (await site.say(awaiting, "approve")).status_code == 200
        row = await site.until(awaiting, in_line)
        row = await site.until(awaiting, lambda row: row.status == S.PENDING)
        assert row.place is not None
        late = await site.say(awaiting, "approve")
        assert late.status_code == 409
        await site.say(running, "abort")
        assert (await site.until(awaiting, has_ended)).status == S.ACTIVE


async def test_superseding_rolls_back_what_runs_and_then_starts(site: Site) -> None:
    async with site.worker():
        model = await site.served()
        running = await site.deploy(model, "2.0.0")
        await site.until(running, at_weight)
        waiting = await site.deploy(model, "2.0.0", onConflict="queue")
        superseding = await site.deploy(model, "3.0.0", config=AT_ONCE, onConflict="supersede")
        row = await site.until(superseding, has_ended)
        assert (row.status, row.previous_version) == (S.ACTIVE, "1.0.0")
        for other, end in ((running, S.ROLLED_BACK), (waiting, S.CANCELLED)):
            row = await site.row(other)
            assert (row.status, row.reason) == (end, Reason.SUPERSEDED)
            assert superseding in (row.message or "")


async def test_a_queue_workflow_that_was_lost_is_started_again_when_its_turn_has_come(site: Site) -> None:
    async with site.worker():
        model = await site.served()
        running = await site.deploy(model, "2.0.0")
        await site.until(running, at_weight)
        lost, after = [await site.deploy(model, "3.0.0", config=AT_ONCE, onConflict="queue") for _ in range(2)]
        await site.client.get_workflow_handle(f"queue/{lost}").terminate("a slip of the hand")
        async with site.sessions.begin() as session:
            await session.execute(text("UPDATE deployments SET started_at = started_at - interval '5 minutes'"))
        assert await site.reconcile() == [], "it waits as it should"
        assert [(await site.row(each)).status for each in (lost, after)] == [S.PENDING, S.PENDING]
        await site.say(running, "abort")
        await site.until(running, has_ended)
        assert await site.reconcile() == [f"queue/{lost}"]
        for each in (lost, after):
            assert (await site.until(each, has_ended)).status == S.ACTIVE


async def test_a_workflow_id_that_a_stranger_holds_is_waited_for(site: Site) -> None:
    """Such as one that a person started by hand, of which no row tells."""
    async with site.worker():
        model = await site.model()
        stranger = await site.client.start_workflow(
            "Queue", {"request": {}}, id=f"deployment/Production/{model}", task_queue="nobody-polls-this"
        )
        waiting = await site.deploy(model, config=AT_ONCE, onConflict="queue")
        handle = site.client.get_workflow_handle(f"queue/{waiting}")

        async def was_refused() -> bool:
            return any(
                event.HasField("start_child_workflow_execution_failed_event_attributes")
                for event in (await handle.fetch_history()).events
            )

        async with asyncio.timeout(patient(20)):
            while not await was_refused():
                await asyncio.sleep(0.1)
        await stranger.terminate()
        assert (await site.until(waiting, has_ended)).status == S.ACTIVE
        assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED


async def test_who_waits_too_long_is_given_up(site: Site) -> None:
    async with site.worker():
        model = await site.served()
        running = await site.deploy(model, "2.0.0")
        await site.until(running, at_weight)
        row = await PostgresDeploymentReader(site.sessions).deployment(
            await site.deploy(model, "3.0.0", onConflict="queue")
        )
        late = row.deployment_id
        await site.client.get_workflow_handle(f"queue/{late}").terminate()
        queued = {**(row.queued_request or {})}
        queued["request"] = {**queued["request"], "queueDeadline": "PT1S"}
        await site.client.start_workflow("Queue", queued, id=f"queue/{late}", task_queue=site.queue)
        row = await site.until(late, has_ended)
        assert (row.status, row.reason) == (S.FAILED, Reason.DEADLINE_EXCEEDED)
        await site.say(running, "abort")


# --- many -------------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    most_running: int = 0
    most_of_a_model: int = 0


UNDER_WAY = "status NOT IN ('Pending', 'AwaitingApproval', 'Active', 'RolledBack', 'Cancelled', 'Failed')"
RUNNING = f"SELECT count(*) FROM deployments WHERE {UNDER_WAY}"
OF_A_MODEL = f"SELECT count(*) FROM deployments WHERE {UNDER_WAY} GROUP BY model_id ORDER BY 1 DESC LIMIT 1"


async def look(site: Site, seen: Seen) -> None:
    while True:
        async with site.sessions() as session:
            running = await session.scalar(text(RUNNING)) or 0
            of_a_model = await session.scalar(text(OF_A_MODEL)) or 0
        seen.most_running = max(seen.most_running, running)
        seen.most_of_a_model = max(seen.most_of_a_model, of_a_model)
        await asyncio.sleep(0.05)


class Process:
    """A worker that can be killed."""

    def __init__(self, site: Site, postgres_url: str, *, limit: int) -> None:
        self._environment = {
            **os.environ,
            many.URL: postgres_url,
            many.QUEUE: site.queue,
            many.LIMIT: str(limit),
            "TEMPORAL_ADDRESS": site.client.service_client.config.target_host,
            "TEMPORAL_NAMESPACE": site.client.namespace,
        }
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-m", "tests.workflows.many"], env=self._environment)

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process = self._start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(patient(20))


async def started_at_once(site: Site, models: list[str], *, each: int) -> list[str]:
    """`each` deployments of every model, round by round, and as many requests at a time as the API likes."""
    gate = asyncio.Semaphore(8)

    async def ask(model: str, version: str) -> str:
        async with gate:
            return await site.deploy(model, version, config=AT_ONCE, onConflict="queue")

    versions = [f"{number + 1}.0.0" for number in range(each)]
    return await asyncio.gather(*(ask(model, version) for version in versions for model in models))


ORDER = """
    SELECT model_id, ticket, asked_at, taken_at, completed_at
    FROM deployments JOIN slots USING (deployment_id) ORDER BY ticket
"""


async def overtakings(site: Site) -> int:
    """How often one got a slot while another, whose request was accepted before his, was waiting for it."""
    async with site.sessions() as session:
        rows = (await session.execute(text(ORDER))).all()
    for model in {row.model_id for row in rows}:
        ends = [row.completed_at for row in rows if row.model_id == model]
        assert ends == sorted(ends), "one of a model after the other, in their order"
    return sum(
        early.asked_at < late.taken_at < early.taken_at for number, early in enumerate(rows) for late in rows[number:]
    )


@pytest.mark.parametrize(
    ("models", "each", "kills"),
    [
        pytest.param(6, 2, 1, id="12 over 6 models"),
        pytest.param(50, 4, 3, id="200 over 50 models", marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
async def test_all_end_in_order_and_none_is_lost_when_the_worker_is_killed(
    site: Site, postgres_url: str, models: int, each: int, kills: int
) -> None:
    limit = 5
    versions = [f"{number + 1}.0.0" for number in range(each)]
    names = [await site.model(*versions) for _ in range(models)]
    seen = Seen()
    worker, looking = Process(site, postgres_url, limit=limit), asyncio.create_task(look(site, seen))
    try:
        all_of_them = await started_at_once(site, names, each=each)
        for number in range(kills):
            share = (number + 1) * len(all_of_them) // (kills + 1)
            while await site.count("status = 'Active'") < share:
                assert worker.lives
                await asyncio.sleep(0.1)
            worker.kill()
        while await site.count("completed_at IS NULL"):
            assert worker.lives
            await asyncio.sleep(0.2)
    finally:
        looking.cancel()
        worker.stop()
    assert await site.count("status = 'Active'") == len(all_of_them) == models * each
    assert (seen.most_of_a_model, seen.most_running <= limit) == (1, True)
    assert seen.most_running > 1, "and not one after the other"
    assert await overtakings(site) == 0
