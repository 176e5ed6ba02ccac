"""What the API refuses for want of room, and scaling what serves: real rows, a real workflow, a cluster of fakes."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from temporalio.worker import Worker

from activities.capacity import CapacityActivities
from activities.replicas import ReplicaActivities
from hotswap.deployments.capacity import Planner
from hotswap.domain.application import ApplicationSpec, Desired, ReplicaResources
from hotswap.domain.vocabulary import Environment, Framework, Role
from hotswap.persistence.deployments.applications import PostgresApplications
from hotswap.persistence.deployments.capacity import PostgresCapacity
from tests.integration.api_world import INSPECTION, ApiWorld, fake_worker
from tests.integration.test_api_deployments import error_of, made_active, started
from tests.workflows.fake_serving import FakeProbe
from workflows.scaling import ScalingWorkflow


def application(world: ApiWorld, version: str, resources: ReplicaResources) -> Desired:
    spec = ApplicationSpec(
        name=f"Production-{world.model}-{version}",
        deployment_id="dep-any",
        environment=Environment.PRODUCTION,
        model=world.model,
        version=version,
        framework=Framework.ONNX,
        artifact=INSPECTION.artifact,
        input_schema={},
        output_schema={},
        resources=resources,
    )
    return Desired.at_rest(spec)


async def serving(world: ApiWorld, *, gpus: float = 1.0, replicas: int = 1, most: int | None = None) -> str:
    """A version that is active on so many replicas; the id of its deployment."""
    resources = ReplicaResources(replicas=replicas, gpus=gpus, min_replicas=most and replicas, max_replicas=most)
    desired = application(world, "1.0.0", resources)
    await PostgresApplications(world.sessions).add(desired)
    said = {"replicas": replicas, "gpus": gpus} | ({"minReplicas": replicas, "maxReplicas": most} if most else {})
    deployment_id = await made_active(world, "1.0.0", resources=said)
    await world.ray.put([desired])
    await world.add_version("2.0.0")
    return deployment_id


@pytest.fixture
async def worker(world: ApiWorld) -> AsyncIterator[Worker]:
    """With the workflow that scales, the real one, beside a deployment's fake."""
    planner = Planner(PostgresCapacity(world.sessions), world.ray, world.ray)
    capacity = CapacityActivities(planner)
    replicas = ReplicaActivities(PostgresApplications(world.sessions), world.ray, FakeProbe())
    scaling: list[Callable[..., Any]] = [capacity.resize_replicas, replicas.count_replicas, replicas.scale_replicas]
    async with fake_worker(world.temporal, world.sessions, world.task_queue, [ScalingWorkflow], scaling) as running:
        yield running


def message_of(answer: httpx.Response) -> str:
    said: str = answer.json()["error"]["message"]
    return said


async def dry_run(world: ApiWorld, **body: object) -> dict[str, Any]:
    headers, asked = world.token(Role.ML_ENGINEER), {"modelId": world.model, "version": "2.0.0", **body}
    found: dict[str, Any] = (
        await world.http.post("/api/v1/deployments?dryRun=true", headers=headers, json=asked)
    ).json()
    return found


async def test_what_has_no_room_beside_what_runs_is_refused_with_the_sum(world: ApiWorld, worker: Worker) -> None:
    await serving(world)
    world.ray.gpus = 1
    answer = await world.deploy(version="2.0.0", resources={"gpus": 1})
    assert error_of(answer) == (409, "INSUFFICIENT_CAPACITY")
    assert "candidate 1 x 1 GPU + stable 1 x 1 GPU = 2 GPUs of 1 GPU that the cluster has" in message_of(answer)
    assert "strategyConfig.allowRecreate" in message_of(answer)
    dry = await dry_run(world, resources={"gpus": 1})
    assert [each["code"] for each in dry["refusals"]] == ["INSUFFICIENT_CAPACITY"]
    assert (dry["gpus"]["peak"], dry["capacity"]) == (2, None)
    allowed: dict[str, Any] = {"resources": {"gpus": 1}, "strategyConfig": {"allowRecreate": True}}
    dry = await dry_run(world, **allowed)
    assert (dry["refusals"], dry["gpus"]) == ([], {"candidate": 1, "stable": 1, "peak": 1})
    assert dry["capacity"].startswith("recreate: there is no room beside the stable")
    assert (await world.deploy(version="2.0.0", **allowed)).status_code == 202


async def test_a_dry_run_tells_by_which_way_two_versions_get_past_each_other(world: ApiWorld, worker: Worker) -> None:
    await serving(world, replicas=2)
    asked = {"resources": {"replicas": 2, "gpus": 1}}
    for gpus, peak, way in ((8, 4, "surge"), (3, 3, "stepwise"), (None, 4, None)):
        world.ray.gpus = gpus
        dry = await dry_run(world, **asked)
        assert (dry["refusals"], dry["gpus"]) == ([], {"candidate": 2, "stable": 2, "peak": peak}), gpus
        assert (dry["capacity"] or "").partition(":")[0] == (way or "")


async def test_what_could_never_fit_is_the_requests_fault(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    answer = await world.deploy(resources={"replicas": 9, "gpus": 1})
    assert error_of(answer) == (400, "VALIDATION_ERROR")
    assert answer.json()["error"]["details"][0]["field"] == "resources"
    assert "9 x 1 GPU can never fit: the whole cluster has 8 GPUs" in message_of(answer)
    assert error_of(await world.deploy(resources={"gpus": 9}, onConflict="queue")) == (400, "VALIDATION_ERROR")


async def test_what_waits_for_its_turn_may_have_room_by_then(world: ApiWorld, worker: Worker) -> None:
    await serving(world)
    world.ray.gpus = 1
    answer = await world.deploy(version="2.0.0", resources={"gpus": 1}, onConflict="queue")
    assert answer.status_code == 202


async def test_while_ray_is_away_nothing_is_refused(world: ApiWorld, worker: Worker) -> None:
    await world.add_version("1.0.0")
    world.ray.gpus = None
    assert (await world.deploy(resources={"replicas": 9, "gpus": 1})).status_code == 202


async def test_who_runs_there_is_told_before_the_room_is(world: ApiWorld, worker: Worker) -> None:
    await serving(world)
    running = await started(world, version="2.0.0", resources={"gpus": 1})
    world.ray.gpus = 1
    answer = await world.deploy(version="2.0.0", resources={"gpus": 1})
    assert error_of(answer) == (409, "CONFLICT")
    assert running in message_of(answer)


async def test_what_serves_is_scaled(world: ApiWorld, worker: Worker) -> None:
    deployment_id = await serving(world)
    answer = await world.say(deployment_id, "scale", replicas=3, reason="load")
    assert (answer.status_code, answer.json()["confirmed"]) == (200, True), answer.text
    assert "has 3 replicas ready, before 1" in answer.json()["message"]
    assert world.ray.replicas == {f"Production-{world.model}-1.0.0": 3}
    assert (await world.get(f"/api/v1/deployments/{deployment_id}")).json()["resources"]["replicas"] == 3
    down = await world.say(deployment_id, "scale", replicas=1)
    assert "has 1 replicas ready, before 3" in down.json()["message"]


async def test_scaling_is_refused_where_it_has_no_room(world: ApiWorld, worker: Worker) -> None:
    deployment_id = await serving(world)
    world.ray.gpus = 3
    other = application(replace(world, model="other"), "1.0.0", ReplicaResources(replicas=1, gpus=1))
    await PostgresApplications(world.sessions).add(other)
    answer = await world.say(deployment_id, "scale", replicas=3)
    assert error_of(answer) == (409, "INSUFFICIENT_CAPACITY")
    assert "3 x 1 GPU + Production-other-1.0.0 1 GPU = 4 GPUs of 3 GPUs" in message_of(answer)
    assert error_of(await world.say(deployment_id, "scale", replicas=4)) == (400, "VALIDATION_ERROR")
    assert error_of(await world.say(deployment_id, "scale", replicas=0)) == (400, "VALIDATION_ERROR")


async def test_only_what_serves_is_scaled_and_not_under_a_deployment(world: ApiWorld, worker: Worker) -> None:
    first = await serving(world)
    coming = await started(world, version="2.0.0", resources={"gpus": 1})
    answer = await world.say(coming, "scale", replicas=2)
    assert error_of(answer) == (409, "CONFLICT")
    assert f"doesn't serve {world.model} in Production; {first} does" in message_of(answer)
    answer = await world.say(first, "scale", replicas=2)
    assert error_of(answer) == (409, "CONFLICT")
    assert coming in message_of(answer)


async def test_what_scales_by_load_is_given_its_fewest(world: ApiWorld, worker: Worker) -> None:
    deployment_id = await serving(world, most=4)
    assert (await world.say(deployment_id, "scale", replicas=3)).status_code == 200
    answer = await world.say(deployment_id, "scale", replicas=5)
    assert error_of(answer) == (400, "VALIDATION_ERROR")
    assert "above its maxReplicas 4" in message_of(answer)


async def test_replicas_that_take_longer_are_on_their_way_and_a_later_word_ends_the_earlier(
    world: ApiWorld, worker: Worker
) -> None:
    deployment_id = await serving(world)
    world.ray.most = 1
    answer = await world.say(deployment_id, "scale", replicas=3)
    assert (answer.status_code, answer.json()["confirmed"]) == (202, False)
    again = await world.say(deployment_id, "scale", replicas=1)
    assert (again.status_code, again.json()["confirmed"]) == (200, True)


async def test_a_rollback_has_as_many_replicas_as_serve_now(world: ApiWorld, worker: Worker) -> None:
    await serving(world)
    await PostgresApplications(world.sessions).add(application(world, "2.0.0", ReplicaResources(replicas=1, gpus=1)))
    second = await made_active(world, "2.0.0", resources={"gpus": 1})
    assert (await world.say(second, "scale", replicas=3)).status_code == 200
    answer = await world.say(second, "rollback")
    assert answer.status_code == 202, answer.text
    back = (await world.get(f"/api/v1/deployments/{answer.json()['deploymentId']}")).json()
    assert (back["version"], back["resources"]["replicas"]) == ("1.0.0", 3)
