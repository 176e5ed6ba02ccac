"""Lists by pages that nothing shifts, and what they can be searched by."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hotswap.domain.vocabulary import Framework, ModelType, Role
from hotswap.persistence.tables import Deployment, Model
from tests.fixtures.rows import deployment_of, registrar
from tests.integration.api_world import INSPECTION, ApiWorld, registration
from tests.integration.test_api_deployments import error_of


async def walk(
    world: ApiWorld, path: str, meanwhile: Callable[[], Awaitable[Any]], **query: Any
) -> list[dict[str, Any]]:
    """All items, a page of two at a time, each page by the `Link` of the one before."""
    answer = await world.get(path, params={"limit": 2, **query})
    seen = answer.json()["items"]
    while (following := answer.links.get("next")) is not None:
        assert answer.json()["next"] in following["url"]
        await meanwhile()
        answer = await world.get(following["url"])
        seen += answer.json()["items"]
        assert len(seen) < 20
    assert answer.json()["next"] is None
    assert (await world.get(answer.links["first"]["url"])).json()["items"] != []
    return list(seen)


async def add_model(world: ApiWorld, name: str, **more: Any) -> None:
    await registrar(world.sessions).add_version(replace(registration(name, "1.0.0"), **more), INSPECTION)


async def test_models_by_pages_and_by_what_they_are(world: ApiWorld) -> None:
    names = [f"model-{number}" for number in range(5)]
    for name in names:
        await add_model(world, name)
    async with world.sessions.begin() as session:
        await session.execute(update(Model).values(created_at=datetime.now(UTC)))  # all at the same instant
    count = iter(range(100))
    walked = await walk(world, "/api/v1/models", lambda: add_model(world, f"newer-{next(count)}"))
    assert sorted(each["name"] for each in walked) == names, "what comes meanwhile shifts nothing"
    kinds = {"framework": Framework.XGBOOST, "type": ModelType.REGRESSION, "team": "risk", "owner": "ann"}
    await add_model(world, "odd", **kinds, tags=("tier-1", "eu"))
    for query in ({"framework": "XGBoost"}, {"type": "Regression"}, {"team": "risk"}, {"owner": "ann"}, {"tag": "eu"}):
        found = (await world.get("/api/v1/models", params=query)).json()
        assert [each["name"] for each in found["items"]] == ["odd"], query
        assert found["total"] == 1
    assert (await world.get("/api/v1/models", params={"name": "ewer-"})).json()["total"] == next(count)
    assert (await world.get("/api/v1/models", params={"name": "%"})).json()["total"] == 0
    admin = world.token(Role.ADMIN)
    assert (await world.http.delete("/api/v1/models/odd", headers=admin)).status_code == 200
    archived = (await world.get("/api/v1/models", params={"archived": "true"})).json()["items"]
    assert [each["name"] for each in archived] == ["odd"]


async def test_versions_by_pages_and_status(world: ApiWorld) -> None:
    numbers = ["1.10.0", "1.9.0", "1.9.0-rc.1", "1.0.0+b", "1.0.0+a"]
    for number in numbers:
        await world.add_version(number)
    path = f"/api/v1/models/{world.model}/versions"
    more = iter(["2.0.0", "2.1.0", "0.1.0"])
    walked = await walk(world, path, lambda: world.add_version(next(more)))
    assert [each["version"] for each in walked if each["version"] != "0.1.0"] == numbers
    engineer = world.token(Role.ML_ENGINEER)
    await world.http.post(f"{path}/1.9.0/deprecate", headers=engineer, json={"reason": "old"})
    found = (await world.get(path, params={"status": ["Deprecated", "Archived"]})).json()
    assert ([each["version"] for each in found["items"]], found["total"]) == (["1.9.0"], 1)


async def test_deployments_by_pages_and_by_what_they_are(world: ApiWorld) -> None:
    for number in range(1, 6):
        await world.add_version(f"{number}.0.0")
    ids = [await deployment_of(world.sessions, f"{number}.0.0", model=world.model) for number in range(1, 6)]
    path, mine = "/api/v1/deployments", {"model": world.model}

    async def another() -> str:
        return await deployment_of(world.sessions, "5.0.0", model=world.model)

    walked = [each["deploymentId"] for each in await walk(world, path, another, **mine)]
    assert walked == ids[::-1]
    async with world.sessions.begin() as session:
        yesterday = datetime.now(UTC) - timedelta(days=1)
        change = update(Deployment).where(Deployment.deployment_id == ids[0])
        await session.execute(change.values(started_at=yesterday, status="Failed", initiated_by="bob", kind="rollback"))
    hour_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    for query in (
        {"until": hour_ago},
        {"initiatedBy": "bob"},
        {"kind": "rollback"},
        {"version": "1.0.0"},
        {"status": ["Failed", "RolledBack"]},
    ):
        found = (await world.get(path, params=mine | query)).json()["items"]
        assert [each["deploymentId"] for each in found] == [ids[0]], query
    since = (await world.get(path, params=mine | {"since": hour_ago})).json()["items"]
    assert ids[0] not in {each["deploymentId"] for each in since}
    assert len(since) > 4


async def test_freezes_by_pages(world: ApiWorld) -> None:
    engineer = world.token(Role.ML_ENGINEER)

    async def freeze(hours: int) -> None:
        begin = datetime.now(UTC) + timedelta(hours=hours)
        body = {"environment": "Staging", "reason": str(hours), "startsAt": begin.isoformat(), "duration": "PT1H"}
        assert (await world.http.post("/api/v1/freezes", headers=engineer, json=body)).status_code == 201

    for hours in (3, 1, 2):
        await freeze(hours)
    walked = await walk(world, "/api/v1/freezes", lambda: freeze(0))
    assert [each["reason"] for each in walked] == ["1", "2", "3"]


@pytest.mark.parametrize("path", ["models", "deployments", "freezes", "alerts", "audit"])
async def test_a_cursor_of_another_list_is_refused(world: ApiWorld, path: str) -> None:
    for number in range(3):
        await add_model(world, f"model-{number}")
    other = "models" if path != "models" else "audit"
    if other == "audit":
        admin = world.token(Role.ADMIN)
        for owner in ("bob", "carla"):
            await world.http.patch("/api/v1/models/model-0", headers=admin, json={"owner": owner})
    cursor = (await world.get(f"/api/v1/{other}", params={"limit": 1})).json()["next"]
    for wrong in (cursor, "x", "bnVsbA", "W10"):
        answer = await world.get(f"/api/v1/{path}", params={"cursor": wrong})
        assert error_of(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["error"]["details"][0]["field"] == "cursor"


async def test_a_filter_that_is_misspelt_is_refused(world: ApiWorld) -> None:
    answer = await world.get("/api/v1/deployments", params={"enviroment": "Production"})
    assert error_of(answer) == (400, "VALIDATION_ERROR")
    assert answer.json()["error"]["details"][0]["field"] == "enviroment"
