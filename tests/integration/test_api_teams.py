"""Whose a model is decides whose roles count for it, also where only the body names it."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from temporalio.worker import Worker

from hotswap.domain.access import Grant
from hotswap.domain.traffic import TrafficPlan
from hotswap.domain.vocabulary import Role
from tests.fixtures.patience import until
from tests.fixtures.rows import registrar
from tests.integration.api_world import INSPECTION, ApiWorld, registration
from tests.integration.test_api_deployments import error_of, made_active

SCIENTIST, ENGINEER = Role.DATA_SCIENTIST, Role.ML_ENGINEER


async def register(world: ApiWorld, *grants: Grant | Role, version: str = "1.0.0", **body: Any) -> httpx.Response:
    path = f"s3://ml-models/{world.model}/{version}.tar.gz"
    body = {"name": world.model, "version": version, "framework": "ONNX", "artifactPath": path, **body}
    return await world.http.post("/api/v1/models", headers=world.token(*grants), json=body)


async def deploy(world: ApiWorld, *grants: Grant | Role, **body: Any) -> httpx.Response:
    body = {"modelId": world.model, "environment": "Staging", **body}
    return await world.http.post("/api/v1/deployments", headers=world.token(*grants), json=body)


def refusal(answer: httpx.Response) -> str:
    assert error_of(answer) == (403, "FORBIDDEN"), answer.text
    return str(answer.json()["error"]["message"])


@pytest.mark.usefixtures("worker")
async def test_a_model_is_its_teams(world: ApiWorld) -> None:
    ours, theirs = Grant(SCIENTIST, "payments"), Grant(Role.ADMIN, "fraud")
    assert "MLEngineer; ann has payments:DataScientist" in refusal(await register(world, ours)), "nobody's"
    assert "in the team fraud" in refusal(await register(world, ours, team="fraud"))
    assert (await register(world, ours, team="payments")).status_code == 201
    assert "in the team payments" in refusal(await register(world, theirs, version="2.0.0", team="fraud"))
    assert (await register(world, ours, version="2.0.0", team="fraud")).status_code == 201
    seen = (await world.http.get(f"/api/v1/models/{world.model}", headers=world.token(theirs))).json()
    assert seen["team"] == "payments", "the model keeps its team; and all may read"

    assert "in the team payments" in refusal(await deploy(world, theirs))
    production = refusal(await deploy(world, ours, environment="Production"))
    assert production == (
        "Production needs the role MLEngineer or Admin in the team payments; ann may use Development and Staging"
    )
    started = await deploy(world, ours)
    assert started.status_code == 202, started.text
    abort = f"/api/v1/deployments/{started.json()['deploymentId']}/abort"
    assert "in the team payments" in refusal(await world.http.post(abort, headers=world.token(theirs)))
    await until(lambda: world.was_opened(started.json()["deploymentId"]))
    assert (await world.http.post(abort, headers=world.token(ours))).status_code == 200


@pytest.mark.usefixtures("worker")
async def test_a_team_is_not_let_into_a_model_that_another_made_meanwhile(world: ApiWorld) -> None:
    parts = world.app.state.parts

    class Overtaken:
        """Fraud's first version comes just after payments' team was looked at."""

        async def of(self, *, model: str) -> str | None:
            try:
                found: str | None = await parts.teams.of(model=model)
            finally:
                theirs = replace(registration(model, "1.0.0"), team="fraud")
                await registrar(world.sessions).add_version(theirs, INSPECTION)
            return found

    world.app.state.parts = replace(parts, registrations=replace(parts.registrations, teams=Overtaken()))
    ours = Grant(SCIENTIST, "payments")
    refused = await register(world, ours, version="9.9.9", team="payments")
    assert error_of(refused) == (409, "CONFLICT")
    assert "has become the model of team fraud" in refused.json()["error"]["message"]
    listed = (await world.get(f"/api/v1/models/{world.model}/versions")).json()["items"]
    assert [each["version"] for each in listed] == ["1.0.0"]

    world.model += "-2"
    anywhere = await register(world, ours, SCIENTIST, version="9.9.9", team="payments")
    assert anywhere.status_code == 201, "who may register in all teams is held to none"


@pytest.mark.usefixtures("worker")
async def test_another_team_makes_another_plan(world: ApiWorld) -> None:
    await made_active(world, "1.0.0")
    published: list[TrafficPlan] = []

    class Bus:
        async def publish(self, plan: TrafficPlan) -> None:
            published.append(plan)

    parts = world.app.state.parts
    world.app.state.parts = replace(parts, curation=replace(parts.curation, bus=Bus()))
    before = await parts.plans.current()
    admin, model = world.token(Role.ADMIN), f"/api/v1/models/{world.model}"
    assert (await world.http.patch(model, headers=admin, json={"team": "payments"})).status_code == 200
    assert (await world.http.patch(model, headers=admin, json={"description": "x"})).status_code == 200
    (plan,) = published
    assert plan.generation == before.generation + 1
    assert {route.team for route in plan.routes if route.model == world.model} <= {"payments"}
    world.app.state.parts = parts  # whose Redis is away
    assert (await world.http.patch(model, headers=admin, json={"team": None})).status_code == 200


@pytest.mark.usefixtures("worker")
async def test_a_role_in_a_team_adds_to_one_that_counts_everywhere(world: ApiWorld) -> None:
    both = (Role.DATA_SCIENTIST, Grant(ENGINEER, "payments"))
    assert (await register(world, *both, team="payments")).status_code == 201
    assert (await deploy(world, *both, environment="Production")).status_code == 202
    model = f"/api/v1/models/{world.model}"
    changed = await world.http.patch(model, headers=world.token(*both), json={"description": "late payers"})
    assert changed.status_code == 200
    assert "in the team fraud" in refusal(
        await world.http.patch(model, headers=world.token(*both), json={"team": "fraud"})
    )
    assert refusal(await world.http.patch(model, headers=world.token(*both), json={"team": None}))
    given = (*both, Grant(ENGINEER, "fraud"))
    moved = await world.http.patch(model, headers=world.token(*given), json={"team": "fraud"})
    assert moved.json()["team"] == "fraud"
    assert refusal(await world.http.patch(model, headers=world.token(*both), json={"description": "ours"}))


async def test_what_is_not_there_is_told_to_who_might_have_changed_it(world: ApiWorld, worker: Worker) -> None:
    ours = world.token(Grant(Role.ADMIN, "payments"))
    assert error_of(await world.http.delete("/api/v1/models/nothing", headers=ours)) == (404, "MODEL_NOT_FOUND")
    missing = await world.http.post("/api/v1/deployments/dep-nothing/approve", headers=ours)
    assert error_of(missing) == (404, "DEPLOYMENT_NOT_FOUND")
    assert error_of(await deploy(world, Grant(Role.ADMIN, "payments"), modelId="nothing")) == (404, "MODEL_NOT_FOUND")
    assert error_of(await world.http.delete("/api/v1/models/%00", headers=ours)) == (403, "FORBIDDEN")


async def test_a_model_is_not_named_as_another_ones_id(world: ApiWorld) -> None:
    await world.add_version()
    model_id = (await world.get(f"/api/v1/models/{world.model}")).json()["modelId"]
    taken = await register(world, Grant(SCIENTIST, "fraud"), name=model_id, team="fraud")
    assert error_of(taken) == (400, "VALIDATION_ERROR")
    assert "looks like a model's id" in taken.json()["error"]["message"]
