"""The same request under the same key is acted on once, whatever it asks for, and a key is never stuck."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import func, select, update
from temporalio.worker import Worker

from hotswap.domain.vocabulary import Role
from hotswap.persistence.platform.idempotency import CLAIMED, KEPT
from hotswap.persistence.records.retention import let_go
from hotswap.persistence.tables import FreezeRow, IdempotencyKey
from hotswap.settings import RetentionSettings
from tests.fixtures.patience import patient
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of, started

FREEZE = {"environment": "Development", "reason": "holidays", "duration": "PT1H"}


async def freeze(world: ApiWorld, key: str | None, *, by: str = "ann", **changes: Any) -> httpx.Response:
    headers = world.token(Role.ML_ENGINEER, subject=f"{by}-{world.model}") | ({"Idempotency-Key": key} if key else {})
    body = FREEZE | {"reason": world.model} | changes
    return await world.http.post("/api/v1/freezes", headers=headers, json=body)


async def freezes(world: ApiWorld) -> int:
    async with world.sessions() as session:
        wanted = select(func.count()).select_from(FreezeRow).where(FreezeRow.reason == world.model)
        return await session.scalar(wanted) or 0


async def let_pass(world: ApiWorld, time: timedelta) -> None:
    """As if the keys had been used so much earlier."""
    async with world.sessions.begin() as session:
        await session.execute(
            update(IdempotencyKey)
            .where(IdempotencyKey.caller.contains(world.model))
            .values(created_at=IdempotencyKey.created_at - time, claimed_at=IdempotencyKey.claimed_at - time)
        )


async def test_asked_again_it_is_answered_as_the_first_time(world: ApiWorld) -> None:
    first, again = await freeze(world, "k"), await freeze(world, "k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.content, again.headers["location"]) == (first.content, first.headers["location"])
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await freezes(world) == 1
    other_body, other_path = await freeze(world, "k", environment="Staging"), await world_post(world, "k")
    assert error_of(other_body) == error_of(other_path) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (await freeze(world, "k", by="bob")).json() != first.json(), "another caller's key is another key"
    assert await freezes(world) == 2
    assert (await freeze(world, None)).status_code == (await freeze(world, None)).status_code == 201
    assert await freezes(world) == 4


async def test_what_decides_who_answers_belongs_to_the_request(world: ApiWorld) -> None:
    """Asynchronous inference is led by headers, so the same body elsewhere is another request."""
    headers = world.token(Role.ML_ENGINEER) | {"Idempotency-Key": "led"}
    asked = [
        await world.http.post("/api/v1/freezes", headers=headers | led, json=FREEZE | {"reason": world.model})
        for led in ({}, {"x-hotswap-environment": "Staging"}, {})
    ]
    assert [answer.status_code for answer in asked] == [201, 409, 201]
    assert error_of(asked[1]) == (409, "IDEMPOTENCY_KEY_REUSED")


async def world_post(world: ApiWorld, key: str) -> httpx.Response:
    headers = world.token(Role.ML_ENGINEER, subject=f"ann-{world.model}") | {"Idempotency-Key": key}
    return await world.http.post("/api/v1/freezes?", headers=headers, json={})


async def test_a_refusal_leaves_the_key_free(world: ApiWorld) -> None:
    assert error_of(await freeze(world, "k", reason="")) == (400, "VALIDATION_ERROR")
    assert error_of(await freeze(world, "k", duration="PT9000H")) == (400, "VALIDATION_ERROR")
    assert (await freeze(world, "k")).status_code == 201


async def test_of_several_at_once_one_is_acted_on(world: ApiWorld) -> None:
    answers = await asyncio.gather(*(freeze(world, "k") for _ in range(4)))
    assert await freezes(world) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    for refused in (answer for answer in answers if answer.status_code == 409):
        assert (error_of(refused)[1], refused.headers["retry-after"]) == ("IDEMPOTENCY_KEY_IN_USE", "1")


async def test_a_process_that_dies_keeps_its_key_for_a_moment_only(world: ApiWorld) -> None:
    keys = world.app.state.parts.idempotency
    caller = f"ann-{world.model}"

    async def die(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    real, keys.let_go = keys.let_go, die  # what a killed process doesn't come to either
    freezing, world.app.state.parts.freezes.add = world.app.state.parts.freezes.add, die
    try:
        await asyncio.wait_for(freeze(world, "k"), patient(20))
    except asyncio.CancelledError:
        pass
    finally:
        keys.let_go, world.app.state.parts.freezes.add = real, freezing
    assert error_of(await freeze(world, "k")) == (409, "IDEMPOTENCY_KEY_IN_USE")
    await let_pass(world, CLAIMED)
    assert error_of(await freeze(world, "k", duration="PT2H")) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (await freeze(world, "k")).status_code == 201
    assert await freezes(world) == 1
    async with world.sessions() as session:
        assert len(list(await session.scalars(select(IdempotencyKey).where(IdempotencyKey.caller == caller)))) == 1


async def test_an_error_of_ours_is_not_kept(world: ApiWorld) -> None:
    async def break_down(*_: object, **__: object) -> None:
        raise ConnectionResetError("a bug")

    real, world.app.state.parts.freezes.add = world.app.state.parts.freezes.add, break_down
    assert error_of(await freeze(world, "k")) == (500, "INTERNAL_ERROR")
    world.app.state.parts.freezes.add = real
    assert error_of(await freeze(world, "k", duration="PT2H")) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert (await freeze(world, "k")).status_code == 201


async def test_a_key_is_forgotten_after_a_day(world: ApiWorld) -> None:
    first = await freeze(world, "k")
    await let_pass(world, KEPT)
    assert (await freeze(world, "k", environment="Staging")).status_code == 201
    await let_pass(world, KEPT)
    await let_go(world.sessions, RetentionSettings(), now=datetime.now(UTC))
    async with world.sessions() as session:
        assert await session.scalar(select(IdempotencyKey).where(IdempotencyKey.caller.contains(world.model))) is None
    assert (await freeze(world, "k")).json() != first.json()


async def test_what_is_said_to_a_deployment_is_said_once(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    deployment_id = await started(world)
    headers = world.token(Role.ML_ENGINEER) | {"Idempotency-Key": f"promote-{world.model}"}
    path = f"/api/v1/deployments/{deployment_id}/promote"
    answers = [await world.http.post(path, headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true", "true"]
    handle = world.temporal.get_workflow_handle(f"deployment/Production/{world.model}")
    assert len(await handle.query("heard")) == 1


async def test_a_deployments_key_is_free_after_a_day_too(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    by = f"ann-{world.model}"
    first = await world.deploy(by=by, key="release", environment="Staging")
    assert (await world.deploy(by=by, key="release", environment="Staging")).json() == first.json()
    await world.say(first.json()["deploymentId"], "abort")
    await world.ends(first.json()["deploymentId"])
    await let_pass(world, KEPT)
    again = await world.deploy(by=by, key="release", environment="Staging")
    assert again.status_code == 202, again.text
    assert again.json()["deploymentId"] != first.json()["deploymentId"]
