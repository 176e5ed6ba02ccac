"""The API over real parts: PostgreSQL, a Temporal server, and a worker whose workflows do nothing but what a test says.

The fakes stand in for `workflows/`, under the same names and with the same messages, so that these tests are about the
API and not about what a deployment does.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner

from activities.heartbeating import application_error
from activities.queueing import QueueActivities
from hotswap.domain.access import Grant
from hotswap.domain.application import ArtifactRef
from hotswap.domain.errors import HotSwapError
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.registry import Inspection, Registration, VersionRef
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Framework, Role
from hotswap.messages import (
    Abort,
    Answer,
    Approve,
    DeploymentInput,
    DeploymentOutcome,
    Promote,
    RegistrationInput,
    waiting_queue,
    way_back_queue,
)
from hotswap.persistence.deployments.deployment_queue import PostgresDeploymentQueue
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.slots import PostgresConcurrencySlots
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.queue_notifications import PostgresQueueNotifications
from hotswap.settings import Settings
from tests.fixtures.api import FakeRay
from tests.fixtures.api_settings import bearer
from tests.fixtures.patience import patience, patient, until
from tests.fixtures.rows import registrar
from workflows.polling import Worker
from workflows.queue import QueueWorkflow

NOT_FOR_LONG = pytest.mark.parametrize("api_waits", [patience(seconds=1)], ids=["not for long"])
"""For a test in which the API gives up to wait for a workflow's answer."""

ACTIVITY_LIMIT = patience(seconds=30)
"""Ends a hang of the fake workflows, and is longer than any of their activities takes on purpose."""


@workflow.defn(name="Deployment")
class FakeDeployment:
    """Waits for a word, and answers as the real one does."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    @workflow.run
    async def run(self, request: DeploymentInput) -> DeploymentOutcome:
        await workflow.execute_activity("open_deployment", request.deployment_id, start_to_close_timeout=ACTIVITY_LIMIT)
        await workflow.wait_condition(lambda: any("abort" in each for each in self.said))
        end = DeploymentStatus.CANCELLED
        await workflow.execute_activity(
            "end_deployment", args=[request.deployment_id, end], start_to_close_timeout=ACTIVITY_LIMIT
        )
        await workflow.wait_condition(workflow.all_handlers_finished)
        return DeploymentOutcome(
            deployment_id=request.deployment_id, status=end, reason=Reason.ABORTED, message="aborted"
        )

    @workflow.query
    def heard(self) -> list[dict[str, Any]]:
        return self.said

    @workflow.update
    async def approve(self, request: Approve) -> Answer:
        return Answer(accepted=False, message="nothing waits for an approval", status=DeploymentStatus.PENDING)

    @workflow.update
    async def promote(self, request: Promote) -> Answer:
        if request.reason == "unreadable":
            raise ApplicationError("Promote: full: wrong", type="VALIDATION_ERROR", non_retryable=True)
        self.said.append({"promote": request.model_dump(mode="json")})
        return Answer(accepted=True, message="the bake ends", status=DeploymentStatus.PROGRESSING)

    @workflow.update(name="abort")
    async def abort_update(self, request: Abort) -> Answer:
        return self._abort(request)

    @workflow.signal(name="abort")
    async def abort_signal(self, request: Abort) -> None:
        self._abort(request)

    def _abort(self, request: Abort) -> Answer:
        self.said.append({"abort": request.model_dump(mode="json")})
        return Answer(accepted=True, message="all traffic is taken", status=DeploymentStatus.PENDING)


@workflow.defn(name="Registration")
class FakeRegistration:
    @workflow.run
    async def run(self, request: RegistrationInput) -> VersionRef:
        added: VersionRef = await workflow.execute_activity(
            "add_version", request.registration, result_type=VersionRef, start_to_close_timeout=ACTIVITY_LIMIT
        )
        return added


def registration(name: str, version: str) -> Registration:
    return Registration(
        name=name,
        version=version,
        framework=Framework.ONNX,
        artifact_path=f"s3://ml-models/{name}/{version}.tar.gz",
        requested_by="dora",
    )


INSPECTION = Inspection(ArtifactRef("s3://ml-models/x.tar.gz", "ab" * 32, 1234), {"type": "array"}, {"type": "number"})


class Activities:
    """What the fake workflows do to the real database."""

    def __init__(self, sessions: Sessions) -> None:
        self.registrar = registrar(sessions)
        self.deployments = PostgresDeployments(sessions)

    @activity.defn
    async def open_deployment(self, deployment_id: str) -> None:
        await self.deployments.open(deployment_id, run_id=activity.info().workflow_run_id or "")

    @activity.defn
    async def end_deployment(self, deployment_id: str, status: DeploymentStatus) -> None:
        await self.deployments.transition(deployment_id, status, message="aborted", reason=Reason.ABORTED, actor="test")

    @activity.defn
    async def add_version(self, wanted: Registration) -> VersionRef:
        if "missing" in wanted.artifact_path:
            problem = {"field": "artifactPath", "message": "there is no such object"}
            raise ApplicationError(
                "artifactPath: there is no such object", [problem], type="VALIDATION_ERROR", non_retryable=True
            )
        if "broken" in wanted.artifact_path:
            raise ApplicationError("postgresql://user:secret@host is away", type="OSError", non_retryable=True)
        if "slow" in wanted.artifact_path:
            await asyncio.sleep(patient(4))
        found = replace(INSPECTION, artifact=replace(INSPECTION.artifact, uri=wanted.artifact_path))
        try:
            return await self.registrar.add_version(wanted, found)
        except HotSwapError as error:
            raise application_error(error) from error


@dataclass
class ApiWorld:
    app: FastAPI
    http: httpx.AsyncClient
    sessions: Sessions
    temporal: Client
    task_queue: str
    settings: Settings
    model: str
    """Its name, another in each test: the Temporal server is shared, and workflow ids hold it."""
    ray: FakeRay

    def token(self, *roles: Role | Grant, subject: str = "ann") -> dict[str, str]:
        return bearer(self.settings, *roles, subject=subject)

    async def add_version(self, version: str = "1.0.0") -> VersionRef:
        return await registrar(self.sessions).add_version(registration(self.model, version), INSPECTION)

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.http.get(path, headers=self.token(Role.VIEWER), **options)

    async def deploy(
        self, *, by: str = "ann", role: Role = Role.ML_ENGINEER, key: str | None = None, **body: Any
    ) -> httpx.Response:
        headers = self.token(role, subject=by) | ({"Idempotency-Key": key} if key else {})
        return await self.http.post("/api/v1/deployments", headers=headers, json={"modelId": self.model, **body})

    async def say(self, deployment_id: str, verb: str, *, by: str = "ann", **body: Any) -> httpx.Response:
        headers = self.token(Role.ML_ENGINEER, subject=by)
        return await self.http.post(f"/api/v1/deployments/{deployment_id}/{verb}", headers=headers, json=body or None)

    async def status(self, deployment_id: str) -> str:
        return str((await self.get(f"/api/v1/deployments/{deployment_id}")).json()["status"])

    async def was_opened(self, deployment_id: str) -> bool:
        return (await self.get(f"/api/v1/deployments/{deployment_id}")).json()["runId"] is not None

    async def ends(self, deployment_id: str, status: str = "Cancelled") -> None:
        """Return when it has ended so."""

        async def ended() -> bool:
            return await self.status(deployment_id) == status

        await until(ended)


@contextlib.asynccontextmanager
async def fake_worker(
    client: Client,
    sessions: Sessions,
    task_queue: str,
    real_workflows: Sequence[type] = (),
    real_activities: Sequence[Callable[..., Any]] = (),
) -> AsyncIterator[Worker]:
    """Only what waits for a turn is real, since it is the API's business who waits for what; and what a test adds."""
    activities = Activities(sessions)
    queue, queue_notifications = PostgresDeploymentQueue(sessions), PostgresQueueNotifications(sessions.engine)
    queueing = QueueActivities(PostgresConcurrencySlots(sessions, limit=5), queue, queue_notifications)
    acting = Worker(
        client,
        task_queue=task_queue,
        workflows=[FakeDeployment, FakeRegistration, QueueWorkflow, *real_workflows],
        activities=[
            activities.open_deployment,
            activities.end_deployment,
            activities.add_version,
            *real_activities,
        ],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    waiting = Worker(
        client,
        task_queue=waiting_queue(task_queue),
        activities=[queueing.take_slot, queueing.await_turn],
    )
    way_back = Worker(client, task_queue=way_back_queue(task_queue), activities=[queueing.leave_queue])
    async with acting, waiting, way_back:
        yield acting
