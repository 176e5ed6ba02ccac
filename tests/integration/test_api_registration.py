"""Registering and reading models through the API, over PostgreSQL and Temporal."""

import json
from typing import Any

import pytest
from temporalio.worker import Worker

from hotswap.domain.vocabulary import Role
from hotswap.persistence.tables import ModelVersion
from tests.fixtures.patience import until
from tests.integration.api_world import NOT_FOR_LONG, ApiWorld


def seed_body(world: ApiWorld, *, artifact: str = "model.tar.gz", version: str = "2.0.0") -> dict[str, str]:
    """The seed's four fields."""
    path = f"s3://ml-models/{world.model}/{artifact}"
    return {"name": world.model, "version": version, "framework": "ONNX", "artifactPath": path}


async def register(world: ApiWorld, **changes: str) -> tuple[int, dict[str, Any], str]:
    """Return the status, the body, and the location or an empty text."""
    headers = world.token(Role.DATA_SCIENTIST, subject="dora")
    answer = await world.http.post("/api/v1/models", headers=headers, json=seed_body(world, **changes))
    return answer.status_code, answer.json(), answer.headers.get("location", "")


async def test_the_seeds_four_fields_register_a_version(world: ApiWorld, worker: Worker) -> None:
    status, version, location = await register(world)
    assert (status, location) == (201, f"/api/v1/models/{world.model}/versions/2.0.0")
    assert (version["model"], version["version"], version["status"]) == (world.model, "2.0.0", "Registered")
    assert version["checksum"] == "ab" * 32
    assert (await world.get(location)).json() == version
    model = (await world.get(f"/api/v1/models/{world.model}")).json()
    assert (model["owner"], model["activeVersion"], model["activeVersions"]) == ("dora", None, {})
    assert model["idempotent"] is True
    assert (await world.get(f"/api/v1/models/{model['modelId']}")).json() == model
    assert [each["name"] for each in (await world.get("/api/v1/models")).json()["items"]] == [world.model]
    versions = (await world.get(f"/api/v1/models/{world.model}/versions")).json()
    assert (versions["total"], versions["items"]) == (1, [version])


async def test_a_model_that_must_not_be_asked_twice_is_shown_as_such(world: ApiWorld, worker: Worker) -> None:
    body = {**seed_body(world), "idempotent": False}
    answer = await world.http.post("/api/v1/models", headers=world.token(Role.DATA_SCIENTIST), json=body)
    assert answer.status_code == 201, answer.text
    assert (await world.get(f"/api/v1/models/{world.model}")).json()["idempotent"] is False


async def test_a_version_whose_answers_may_be_no_numbers_is_shown_as_such(world: ApiWorld, worker: Worker) -> None:
    headers = world.token(Role.DATA_SCIENTIST)
    answer = await world.http.post(
        "/api/v1/models", headers=headers, json={**seed_body(world), "allowsNonFinite": True}
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["allowsNonFinite"] is True
    assert answer.json()["outputSchema"]["x-non-finite"] is True


async def test_what_is_said_of_its_training_is_kept(world: ApiWorld, worker: Worker) -> None:
    training, baseline, reference = {"rows": 569}, {"accuracy": 0.97}, {"amount": [1.0, 2.0]}
    said = {"trainingMetadata": training, "performanceBaseline": baseline, "referenceDistribution": reference}
    headers = world.token(Role.DATA_SCIENTIST)
    answer = await world.http.post("/api/v1/models", headers=headers, json={**seed_body(world), **said})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["trainingMetadata"], answer.json()["performanceBaseline"]) == (training, baseline)
    async with world.sessions() as session:
        version = await session.get_one(ModelVersion, answer.json()["versionId"])
    assert version.reference_distribution == reference


async def test_a_version_that_exists_is_a_conflict(world: ApiWorld, worker: Worker) -> None:
    assert (await register(world))[0] == 201
    status, answer, _ = await register(world)
    assert (status, answer["error"]["code"]) == (409, "CONFLICT")


async def test_json_is_read_whatever_content_type_curl_sends(world: ApiWorld, worker: Worker) -> None:
    headers = world.token(Role.ADMIN) | {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await world.http.post("/api/v1/models", headers=headers, content=json.dumps(seed_body(world)))
    assert answer.status_code == 201


async def test_a_failed_registration_is_its_own_error_and_leaves_nothing(world: ApiWorld, worker: Worker) -> None:
    status, answer, _ = await register(world, artifact="missing.tar.gz")
    assert (status, answer["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert answer["error"]["details"] == [{"field": "artifactPath", "message": "there is no such object"}]
    assert (await world.get(f"/api/v1/models/{world.model}")).status_code == 404
    refused = (await world.deploy(version="2.0.0")).json()["error"]
    assert (refused["code"], "its registration has failed" in refused["message"]) == ("MODEL_NOT_FOUND", True)
    assert (await register(world))[0] == 201  # and it can be tried again


async def test_a_failure_inside_says_nothing_of_the_inside(world: ApiWorld, worker: Worker) -> None:
    status, answer, _ = await register(world, artifact="broken.tar.gz")
    assert (status, answer["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "secret" not in str(answer)


@NOT_FOR_LONG
async def test_a_slow_registration_is_accepted_and_can_be_followed(world: ApiWorld, worker: Worker) -> None:
    status, answer, location = await register(world, artifact="slow.tar.gz")
    assert (status, answer["status"]) == (202, "Running")
    assert location
    again, refused, _ = await register(world, artifact="slow.tar.gz")
    assert (again, refused["error"]["code"]) == (409, "CONFLICT")
    assert "being registered" in refused["error"]["message"]
    for params in ({}, {"dryRun": "true"}):
        deployed = await world.http.post(
            "/api/v1/deployments",
            params=params,
            headers=world.token(Role.ML_ENGINEER),
            json={"modelId": world.model, "version": "2.0.0"},
        )
        assert (deployed.status_code, deployed.json()["error"]["code"]) == (404, "MODEL_NOT_FOUND")
        told = deployed.json()["error"]["message"]
        assert told == f"{world.model} 2.0.0 is still being registered; deploy it once GET {location} says Completed"

    async def completed() -> bool:
        status: str = (await world.get(location)).json()["status"]
        return status == "Completed"

    await until(completed)
    assert (await world.get(f"/api/v1/models/{world.model}/versions/2.0.0")).status_code == 200


@pytest.mark.parametrize("version", ["9.9.9", None])
async def test_who_deploys_what_nobody_registered_is_told_that_it_is_not_there(
    world: ApiWorld, worker: Worker, version: str | None
) -> None:
    named: dict[str, Any] = {"version": version} if version is not None else {}
    refused = (await world.deploy(**named)).json()["error"]
    assert (refused["code"], refused["message"].split(";")[0]) == (
        "MODEL_NOT_FOUND",
        f"there is no model {world.model}",
    )


@NOT_FOR_LONG
async def test_without_a_worker_a_registration_waits_for_one(world: ApiWorld) -> None:
    status, answer, location = await register(world)
    assert (status, answer["workflowId"]) == (202, f"registration/{world.model}/2.0.0")
    assert (await world.get(location)).json()["status"] == "Running"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/models/nowhere", "MODEL_NOT_FOUND"),
        ("/api/v1/models/nowhere/versions", "MODEL_NOT_FOUND"),
        ("/api/v1/models/nowhere/versions/1.0.0", "MODEL_NOT_FOUND"),
        ("/api/v1/models/nowhere/versions/1.0.0/registration", "VERSION_NOT_FOUND"),
        ("/api/v1/deployments/dep-nowhere", "DEPLOYMENT_NOT_FOUND"),
    ],
)
async def test_what_is_not_there_is_404_and_named(world: ApiWorld, path: str, code: str) -> None:
    answer = await world.get(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
