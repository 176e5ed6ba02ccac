"""The reconciler behind the API, with real rows, a real Temporal and a real Redis; Ray is a fake."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text
from temporalio.worker import Worker

from activities.deployments import DeploymentActivities
from activities.reconciliation import ReconciliationActivities
from activities.replicas import ReplicaActivities
from hotswap.domain.application import Desired
from hotswap.domain.traffic import ProxyReport
from hotswap.domain.vocabulary import Role
from hotswap.persistence.deployments.applications import PostgresApplications
from hotswap.persistence.deployments.deployment_queue import PostgresDeploymentQueue
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.rows import spec
from tests.integration.api_world import ApiWorld, fake_worker
from tests.workflows.fake_serving import FakeProbe
from workflows.reconcile import ReconcileWorkflow

PATH = "/api/v1/reconciliation"


@pytest.fixture
def redis(world: ApiWorld, bus: RedisTrafficBus) -> RedisTrafficBus:
    """Redis, which is away from the API of the other tests."""
    parts = world.app.state.parts
    world.app.state.parts = replace(parts, reconciler=replace(parts.reconciler, bus=bus))
    return bus


def ours(world: ApiWorld, findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the workflows of other tests, which are open on the same server and have no row here."""
    foreign = "WorkflowWithoutDeployment"
    return [each for each in findings if each["kind"] != foreign or each["subject"].endswith(world.model)]


async def kinds(world: ApiWorld) -> list[tuple[str, str, str | None]]:
    answer = await world.get(PATH)
    assert answer.status_code == 200, answer.text
    return [(each["kind"], each["subject"], each["repair"]) for each in ours(world, answer.json()["findings"])]


async def age(world: ApiWorld) -> None:
    """As if all deployments had been accepted long ago, so that nobody is about to start their workflows."""
    async with world.sessions.begin() as session:
        await session.execute(text("UPDATE deployments SET started_at = started_at - interval '5 minutes'"))


async def test_a_deployment_that_runs_is_no_finding_and_one_that_was_terminated_is(
    world: ApiWorld, redis: RedisTrafficBus, worker: Worker
) -> None:
    await world.add_version()
    started = (await world.deploy(version="1.0.0")).json()["deploymentId"]
    await age(world)
    assert await kinds(world) == []
    await world.temporal.get_workflow_handle(f"deployment/Production/{world.model}").terminate("a slip of the hand")
    assert await kinds(world) == [("DeploymentWithoutWorkflow", started, "EndDeployment")]


async def test_a_workflow_whose_row_has_ended_is_named(world: ApiWorld, redis: RedisTrafficBus, worker: Worker) -> None:
    await world.add_version()
    started = (await world.deploy(version="1.0.0")).json()["deploymentId"]
    async with world.sessions.begin() as session:
        await session.execute(text("UPDATE deployments SET status = 'Failed'"))
    found = await kinds(world)
    assert found == [("WorkflowWithoutDeployment", f"deployment/Production/{world.model}", None)]
    [answer] = ours(world, (await world.get(PATH)).json()["findings"])
    assert started in answer["expected"]
    assert "terminate" in answer["nextStep"]


async def test_redis_that_is_away_is_said_and_the_rest_is_compared(world: ApiWorld) -> None:
    await PostgresApplications(world.sessions).add(Desired.at_rest(spec("Production-fraud-w")))
    found = await kinds(world)
    assert ("NotCompared", "Redis", None) in found
    assert ("ApplicationUnneeded", "Production-fraud-w", "RetireApplication") in found
    assert ("ApplicationMissing", "Production-fraud-w", "SendApplications") in found


async def test_a_proxy_of_another_generation_is_named(world: ApiWorld, redis: RedisTrafficBus) -> None:
    await redis.report(ProxyReport("envoy-0", 150, 1.0))
    assert await kinds(world) == [("ProxyAhead", "envoy-0", "PublishPlan")]


async def test_a_repair_is_an_admins_is_audited_and_repairs(world: ApiWorld, redis: RedisTrafficBus) -> None:
    refused = await world.http.post(PATH, headers=world.token(Role.ML_ENGINEER))
    assert refused.status_code == 403
    await PostgresApplications(world.sessions).add(Desired.at_rest(spec("Production-fraud-w")))
    applications = PostgresApplications(world.sessions)
    replicas = ReplicaActivities(applications, world.ray, FakeProbe())
    deployments = DeploymentActivities(
        PostgresDeployments(world.sessions), applications, PostgresDeploymentQueue(world.sessions)
    )
    reconciliation = ReconciliationActivities(PostgresTrafficPlans(world.sessions), redis)
    real = [
        deployments.find_leftovers,
        replicas.repair_applications,
        reconciliation.publish_plan,
        reconciliation.find_withdrawals,
    ]
    async with fake_worker(world.temporal, world.sessions, world.task_queue, [ReconcileWorkflow], real):
        answer = await world.http.post(PATH, headers=world.token(Role.ADMIN), json={"reason": "after a restore"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["confirmed"] is True
    assert answer.json()["started"] == ["retirement/Production-fraud-w"]
    assert world.ray.replicas == {"Production-fraud-w": 1}
    assert await anext(redis.plans()) == await PostgresTrafficPlans(world.sessions).current()
    events = (await world.get("/api/v1/audit", params={"action": "reconcile"})).json()["items"]
    assert [(each["actor"], each["why"], each["targetType"]) for each in events] == [
        ("ann", "after a restore", "installation")
    ]
    noted = {each["kind"] for each in ours(world, events[0]["before"]["findings"])}
    assert noted == {"ApplicationUnneeded", "ApplicationMissing"}
    await world.temporal.get_workflow_handle("retirement/Production-fraud-w").terminate()


async def test_a_repair_that_finds_nothing_starts_nothing(world: ApiWorld, redis: RedisTrafficBus) -> None:
    """No worker is up, so a workflow that was started would never be confirmed."""
    answer = (await world.http.post(PATH, headers=world.token(Role.ADMIN))).json()
    assert answer == {"findings": answer["findings"], "started": [], "confirmed": True}
    assert ours(world, answer["findings"]) == []
