"""What was read once is known again, and what changed meanwhile is not overwritten."""

import asyncio

import httpx

from hotswap.domain.vocabulary import Role
from tests.fixtures.patience import patient
from tests.fixtures.rows import registrar
from tests.integration.api_world import INSPECTION, ApiWorld, registration
from tests.integration.test_api_deployments import error_of


async def patch(world: ApiWorld, tag: str | None, **changes: object) -> httpx.Response:
    headers = world.token(Role.ML_ENGINEER) | ({"If-Match": tag} if tag is not None else {})
    return await world.http.patch(f"/api/v1/models/{world.model}", headers=headers, json=changes)


async def test_what_has_not_changed_is_not_sent_again(world: ApiWorld) -> None:
    await world.add_version()
    path = f"/api/v1/models/{world.model}"
    first = await world.get(path)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"
    viewer = world.token(Role.VIEWER)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await world.http.get(path, headers=viewer | {"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (await world.http.get(path, headers=viewer | {"If-None-Match": '"other"'})).json() == first.json()
    changed = await patch(world, None, description="another")
    assert changed.headers["etag"] != tag
    now = await world.http.get(path, headers=viewer | {"If-None-Match": tag})
    assert (now.status_code, now.headers["etag"]) == (200, changed.headers["etag"])


async def test_a_change_of_what_the_caller_has_not_seen_is_refused(world: ApiWorld) -> None:
    await world.add_version()
    seen = (await world.get(f"/api/v1/models/{world.model}")).headers["etag"]
    assert (await patch(world, seen, owner="bob")).status_code == 200
    refused = await patch(world, seen, owner="carla")
    assert error_of(refused) == (412, "PRECONDITION_FAILED")
    assert (await world.get(f"/api/v1/models/{world.model}")).json()["owner"] == "bob"
    for wrong in ("nonsense", "", '""', f"W/{seen}"):
        assert error_of(await patch(world, wrong, owner="carla")) == (412, "PRECONDITION_FAILED")
    # What is asked for is looked at first.
    assert error_of(await patch(world, seen, owner=None)) == (400, "VALIDATION_ERROR")
    assert (await patch(world, "*", owner="carla")).status_code == 200


async def test_of_two_who_have_seen_the_same_one_changes_it(world: ApiWorld) -> None:
    await world.add_version()
    seen = (await world.get(f"/api/v1/models/{world.model}")).headers["etag"]
    answers = await asyncio.gather(*(patch(world, seen, owner=f"owner-{number}") for number in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412, 412, 412]


async def test_the_two_names_of_a_model_are_one_thing_to_change(world: ApiWorld) -> None:
    await world.add_version()
    found = await world.get(f"/api/v1/models/{world.model}")
    headers = world.token(Role.ML_ENGINEER) | {"If-Match": found.headers["etag"]}

    async def change(name: str, number: int) -> int:
        body = {"owner": f"owner-{number}"}
        return (await world.http.patch(f"/api/v1/models/{name}", headers=headers, json=body)).status_code

    named = [world.model, found.json()["modelId"]] * 3
    answers = await asyncio.gather(*(change(name, number) for number, name in enumerate(named)))
    assert sorted(answers) == [200, 412, 412, 412, 412, 412]


async def test_a_change_of_one_model_does_not_wait_for_another_models(world: ApiWorld) -> None:
    """Nor for all connections of the pool: whoever changes something needs one more than its lock does."""
    await world.add_version()
    changes = world.app.state.parts.changes
    async with changes.alone("/api/v1/models/another"):
        async with asyncio.timeout(patient(10)):
            assert (await patch(world, None, owner="bob")).status_code == 200
    async with changes.alone(f"/api/v1/models/{world.model}"):
        waits = asyncio.create_task(patch(world, None, owner="carla"))
        await asyncio.wait([waits], timeout=0.2)
        assert not waits.done()
    assert (await waits).status_code == 200


async def test_more_changes_than_the_pool_has_connections_are_all_carried_out(world: ApiWorld) -> None:
    headers = world.token(Role.ML_ENGINEER)
    models = [f"{world.model}-{number}" for number in range(4 * world.settings.postgres.pool_size)]
    for model in models:
        await registrar(world.sessions).add_version(registration(model, "1.0.0"), INSPECTION)
    changes = (world.http.patch(f"/api/v1/models/{model}", headers=headers, json={"owner": "bob"}) for model in models)
    async with asyncio.timeout(patient(25)):
        assert {answer.status_code for answer in await asyncio.gather(*changes)} == {200}


async def test_every_change_of_what_can_be_read_takes_if_match(world: ApiWorld) -> None:
    await world.add_version()
    admin = world.token(Role.ADMIN) | {"If-Match": '"seen-by-nobody"'}
    freeze = {"environment": "Development", "reason": world.model, "duration": "PT1H"}
    frozen = await world.http.post("/api/v1/freezes", headers=admin, json=freeze)
    for method, path, body in (
        ("DELETE", frozen.headers["location"], None),
        ("PUT", f"/api/v1/models/{world.model}/monitoring", {}),
        ("PUT", f"/api/v1/models/{world.model}/versions/1.0.0/card", {"text": "x"}),
        ("DELETE", f"/api/v1/models/{world.model}", None),
    ):
        assert error_of(await world.http.request(method, path, headers=admin, json=body))[0] == 412, path
        now = (await world.get(path)).headers["etag"]
        answer = await world.http.request(method, path, headers=admin | {"If-Match": now}, json=body)
        assert answer.status_code == 200, answer.text
    gone = await world.http.delete("/api/v1/models/no-such-model", headers=admin)
    assert error_of(gone) == (404, "MODEL_NOT_FOUND")
