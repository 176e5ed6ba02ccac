"""Drift by REST: the newest report, one made on the spot, and references that can be read."""

from datetime import timedelta
from typing import Any

from temporalio.worker import Worker

from hotswap.domain.vocabulary import Role
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of, made_active
from tests.integration.test_drift import NOW, asked, larger, usual


async def test_a_report_is_made_when_asked_for_and_then_shown(world: ApiWorld, worker: Worker) -> None:
    await made_active(world, "1.0.0")
    path = f"/api/v1/models/{world.model}/drift"
    assert error_of(await world.get(path)) == (404, "NOT_FOUND")
    application = f"Production-{world.model}-1.0.0"
    await asked(world.sessions, application, usual, at=NOW - timedelta(hours=2), model_name=world.model)
    await asked(world.sessions, application, larger, model_name=world.model)
    made = await world.http.post(path, headers=world.token(Role.DATA_SCIENTIST))
    assert made.status_code == 200, made.text
    seen: dict[str, Any] = made.json()
    assert (seen["version"], seen["environment"], seen["reference"]) == ("1.0.0", "Production", "past")
    assert (seen["samples"], seen["isDrifted"]) == (300, True)
    assert seen["features"]["amount"]["isDrifted"] is True
    assert seen["features"]["country"]["isDrifted"] is False
    assert (await world.get(path)).json() == seen
    assert error_of(await world.get(path, params={"environment": "Staging"})) == (404, "NOT_FOUND")


async def test_where_nothing_is_active_nothing_is_looked_at(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    path = f"/api/v1/models/{world.model}/drift"
    assert error_of(await world.http.post(path, headers=world.token(Role.ML_ENGINEER))) == (409, "CONFLICT")
    assert (await world.http.post(path, headers=world.token(Role.VIEWER))).status_code == 403
    missing = await world.http.post("/api/v1/models/none/drift", headers=world.token(Role.ML_ENGINEER))
    assert error_of(missing) == (404, "MODEL_NOT_FOUND")


async def test_a_reference_that_cannot_be_read_is_refused_at_once(world: ApiWorld) -> None:
    body = {
        "name": world.model,
        "version": "1.0.0",
        "framework": "ONNX",
        "artifactPath": "s3://ml-models/x.tar.gz",
        "referenceDistribution": {"amount": {"edges": [2, 1], "counts": [1, 1, 1]}},
    }
    answer = await world.http.post("/api/v1/models", headers=world.token(Role.DATA_SCIENTIST), json=body)
    assert error_of(answer) == (400, "VALIDATION_ERROR")
    (problem,) = answer.json()["error"]["details"]
    assert problem["field"] == "referenceDistribution"
    assert "amount: edges must ascend" in problem["message"]
