"""A dry run over PostgreSQL and Temporal: it tells what the request itself would come to, and leaves no trace."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select
from temporalio.service import RPCError
from temporalio.worker import Worker

from api.orchestration import Orchestration
from hotswap.domain.vocabulary import Role
from hotswap.persistence.tables import Base
from hotswap.process.temporal import connect
from tests.fixtures.api import with_orchestration
from tests.fixtures.rows import registrar
from tests.integration.api_world import INSPECTION, ApiWorld, registration
from tests.integration.test_api_deployments import error_of, made_active, started
from tests.integration.test_promotion import turn_on

DRY = {"dryRun": "true"}


async def dry(world: ApiWorld, *, role: Role = Role.ML_ENGINEER, **body: Any) -> dict[str, Any]:
    """The answer to a dry run, which must leave every table as it was."""
    before = await rows(world)
    answer = await world.http.post(
        "/api/v1/deployments", params=DRY, headers=world.token(role), json={"modelId": world.model, **body}
    )
    assert answer.status_code == 200, answer.text
    assert "location" not in answer.headers
    assert await rows(world) == before
    found: dict[str, Any] = answer.json()
    return found


async def rows(world: ApiWorld) -> dict[str, int]:
    async with world.sessions() as session:
        counts = [(table.name, select(func.count()).select_from(table)) for table in Base.metadata.sorted_tables]
        return {name: await session.scalar(count) or 0 for name, count in counts}


async def test_a_first_deployment_is_foreseen_and_nothing_is_begun(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    seen = await dry(world, resources={"replicas": 2, "gpus": 0.5})
    assert (seen["model"], seen["version"], seen["environment"]) == (world.model, "1.0.0", "Production")
    assert (seen["wouldBeAccepted"], seen["refusals"], seen["approvalRequired"]) == (True, [], False)
    only = {"number": 1, "weight": 100.0, "bakeSeconds": 300.0, "judged": True, "pause": None, "state": "waiting"}
    assert seen["steps"] == [only]
    assert (seen["leastSeconds"], seen["mostSeconds"]) == (300, 300)
    unwatched = await dry(world, strategyConfig={"firstVersion": {"monitoringDuration": "PT0S"}})
    assert unwatched["steps"] == [{**only, "bakeSeconds": 0.0, "judged": False}]
    assert seen["gpus"] == {"candidate": 1, "stable": 0, "peak": 1}
    assert (seen["serving"], seen["differences"]) == (None, [])
    with pytest.raises(RPCError, match="not found"):
        await world.temporal.get_workflow_handle(f"deployment/Production/{world.model}").describe()


async def test_what_differs_from_what_serves_is_named_by_field(world: ApiWorld, worker: Worker) -> None:
    first = await made_active(world, "1.0.0")
    other = replace(
        INSPECTION,
        artifact=replace(INSPECTION.artifact, sha256="cd" * 32),
        input_schema={"type": "array", "minItems": 3},
    )
    await registrar(world.sessions).add_version(registration(world.model, "2.0.0"), other)
    seen = await dry(
        world,
        strategyConfig={"canaryPercentage": 20, "incrementStep": 40, "monitoringDuration": "PT1M"},
        resources={"replicas": 3, "gpus": 1},
    )
    serving = seen["serving"]
    assert isinstance(serving, dict)
    assert (serving["version"], serving["deploymentId"]) == ("1.0.0", first)
    assert seen["differences"] == [
        {"path": "version", "now": "1.0.0", "then": "2.0.0"},
        {"path": "resources.replicas", "now": 1, "then": 3},
        {"path": "resources.gpus", "now": 0.0, "then": 1.0},
        {"path": "inputSchema.minItems", "now": None, "then": 3},
        {"path": "strategyConfig.canaryPercentage", "now": None, "then": 20.0},
        {"path": "strategyConfig.incrementStep", "now": None, "then": 40.0},
        {"path": "strategyConfig.monitoringDuration", "now": "PT5M", "then": "PT1M"},
    ]
    assert [step["weight"] for step in seen["steps"]] == [20, 60, 100]
    assert (seen["leastSeconds"], seen["mostSeconds"], seen["backtestSeconds"]) == (180, 660, 120)
    assert seen["gpus"] == {"candidate": 3, "stable": 0, "peak": 3}


async def test_all_that_stands_against_it_is_told_at_once(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    running = await started(world)
    turn_on(world)
    seen = await dry(world)
    assert seen["wouldBeAccepted"] is False
    refusals = seen["refusals"]
    assert isinstance(refusals, list)
    assert [refusal["code"] for refusal in refusals] == ["POLICY_NOT_MET", "CONFLICT"]
    assert "Active in Staging for 1:00:00" in refusals[0]["message"]
    assert running in refusals[1]["message"]
    assert (await dry(world, environment="Staging"))["refusals"] == []
    assert await world.status(running) == "Pending", "who is looked at is not touched"


async def test_who_waits_for_the_end_of_another_or_of_a_freeze_is_accepted(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    running = await started(world)
    later = "2100-01-01T00:00:00Z"
    assert (await dry(world, onConflict="queue"))["refusals"] == []
    assert (await dry(world, onConflict="supersede"))["refusals"] == []
    assert (await dry(world, startAt=later))["refusals"] == []
    frozen = {"environment": "Production", "reason": "holidays", "duration": "P1D"}
    answer = await world.http.post("/api/v1/freezes", headers=world.token(Role.ML_ENGINEER), json=frozen)
    assert answer.status_code == 201, answer.text
    refusals = (await dry(world))["refusals"]
    assert isinstance(refusals, list)
    assert [refusal["code"] for refusal in refusals] == ["CONFLICT", "CONFLICT"]
    assert "holidays" in refusals[0]["message"]
    assert running in refusals[1]["message"]
    assert (await dry(world, onConflict="queue"))["refusals"] == []
    assert (await dry(world, startAt=later))["refusals"] == []


async def test_what_is_written_wrongly_is_refused_as_ever(world: ApiWorld) -> None:
    await world.add_version()

    async def refused(role: Role = Role.ML_ENGINEER, **body: object) -> tuple[int, str]:
        headers = world.token(role)
        body = {"modelId": world.model, **body}
        return error_of(await world.http.post("/api/v1/deployments", params=DRY, headers=headers, json=body))

    assert await refused(version="9.0.0") == (404, "VERSION_NOT_FOUND")
    assert await refused(modelId="nobody-knows-it") == (404, "MODEL_NOT_FOUND")
    assert await refused(strategyConfig={"canaryPercentage": 0}) == (400, "VALIDATION_ERROR")
    assert await refused(startAt="2001-01-01T00:00:00Z") == (400, "VALIDATION_ERROR")
    assert await refused(Role.DATA_SCIENTIST) == (403, "FORBIDDEN")


async def test_without_temporal_it_would_be_refused_and_says_so(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add_version()
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    world.app.state.parts = with_orchestration(world.app.state.parts, Orchestration(await connect(lazy=True)))
    seen = await dry(world)
    assert [refusal["code"] for refusal in seen["refusals"]] == ["SERVICE_UNAVAILABLE"]
