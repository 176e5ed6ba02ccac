"""Where a version comes from: said at its registration, answered over all generations."""

from typing import Any

from temporalio.worker import Worker

from hotswap.domain.vocabulary import Role
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of
from tests.integration.test_api_registration import seed_body


async def register(world: ApiWorld, version: str, *, derived_from: list[Any], **said: Any) -> Any:
    body = {**seed_body(world, version=version), "derivedFrom": derived_from, **said}
    return await world.http.post("/api/v1/models", headers=world.token(Role.DATA_SCIENTIST), json=body)


async def lineage(world: ApiWorld, version: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """(generations, version) of what it was made from, and of what was made from it."""
    seen = (await world.get(f"/api/v1/models/{world.model}/versions/{version}/lineage")).json()
    up, down = ([(each["distance"], each["version"]) for each in seen[side]] for side in ("ancestors", "descendants"))
    return up, down


async def test_every_generation_is_answered_once_by_its_shortest_way(world: ApiWorld, worker: Worker) -> None:
    training = {"dataSet": {"name": "payments", "digest": "sha256:0f3a"}, "sampleCounts": {"train": 80}, "rows": 80}
    assert (await register(world, "1.0.0", derived_from=[], trainingMetadata=training)).status_code == 201
    assert (await register(world, "1.1.0", derived_from=[{"version": "1.0.0"}])).status_code == 201
    both = [{"version": "1.1.0"}, {"model": world.model, "version": "1.0.0"}, {"version": "1.0.0"}]
    answer = await register(world, "2.0.0", derived_from=both)
    assert answer.status_code == 201, answer.text
    assert (await register(world, "3.0.0", derived_from=[{"version": "2.0.0"}])).status_code == 201

    assert await lineage(world, "1.0.0") == ([], [(1, "1.1.0"), (1, "2.0.0"), (2, "3.0.0")])
    assert await lineage(world, "3.0.0") == ([(1, "2.0.0"), (2, "1.0.0"), (2, "1.1.0")], [])
    seen = (await world.get(f"/api/v1/models/{world.model}/versions/2.0.0/lineage")).json()
    first, second = seen["ancestors"]
    assert (first["version"], first["derivedFrom"], first["trainingMetadata"]) == ("1.0.0", [], training)
    assert (second["version"], second["derivedFrom"]) == ("1.1.0", [first["versionId"]])
    assert seen["descendants"][0]["derivedFrom"] == [seen["versionId"]] == [answer.json()["versionId"]]


async def test_an_alias_names_what_it_was_made_from_as_it_stood_then(world: ApiWorld, worker: Worker) -> None:
    await world.add_version("1.0.0")
    path = f"/api/v1/models/{world.model}/aliases/champion"
    engineer = world.token(Role.ML_ENGINEER)
    assert (await world.http.put(path, headers=engineer, json={"version": "1.0.0"})).status_code == 200
    assert (await register(world, "2.0.0", derived_from=[{"version": "champion"}])).status_code == 201
    assert (await world.http.put(path, headers=engineer, json={"version": "2.0.0"})).status_code == 200
    assert await lineage(world, "2.0.0") == ([(1, "1.0.0")], [])


async def test_what_is_not_registered_is_named_before_anything_is_fetched(world: ApiWorld, worker: Worker) -> None:
    refused = await register(world, "2.0.0", derived_from=[{"model": "nobodys", "version": "1.0.0"}])
    assert error_of(refused) == (400, "VALIDATION_ERROR")
    (detail,) = refused.json()["error"]["details"]
    assert detail["field"] == "derivedFrom[0]"
    assert "nobodys" in detail["message"]
    itself = await register(world, "2.0.0", derived_from=[{"version": "2.0.0"}])
    assert error_of(itself) == (400, "VALIDATION_ERROR")
    assert (await world.get(f"/api/v1/models/{world.model}")).status_code == 404
