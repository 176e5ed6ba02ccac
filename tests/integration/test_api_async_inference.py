"""Asynchronous inference as its callers see it: accepted or refused at once, and told to whom it concerns."""

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from hotswap.domain.vocabulary import InferenceStatus as S
from hotswap.domain.vocabulary import Role
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.records.async_inference import PostgresAsyncInference
from tests.fixtures.rows import registered
from tests.integration.api_world import ApiWorld
from tests.integration.async_answering import PREDICTION, FakeGateway, at_work, ended


@pytest.fixture
def waiting(sessions: Sessions) -> PostgresAsyncInference:
    return PostgresAsyncInference(sessions)


@pytest.fixture
async def shop(world: ApiWorld) -> ApiWorld:
    """A world in which asynchronous inference is on, and which has a model."""
    await registered(world.sessions, "1.0.0")
    parts = world.app.state.parts
    on = parts.settings.inference.model_copy(
        update={"token_file": world.settings.security.jwks_file, "most_waiting": 5}
    )
    settings = parts.settings.model_copy(update={"inference": on})
    world.app.state.parts = replace(parts, settings=settings)
    return world


async def post(
    world: ApiWorld, body: Any, *, path: str = "fraud/async", subject: str = "shop", **headers: str
) -> httpx.Response:
    given = world.token(Role.APPLICATION, subject=subject) | {key.replace("_", "-"): to for key, to in headers.items()}
    return await world.http.post(f"/api/v1/inference/{path}", headers=given, content=json.dumps(body))


async def status(
    world: ApiWorld, request_id: str, role: Role = Role.APPLICATION, subject: str = "shop"
) -> httpx.Response:
    return await world.http.get(f"/api/v1/inference/{request_id}/status", headers=world.token(role, subject=subject))


async def test_it_is_accepted_with_its_place_and_told_to_its_caller_and_readers_only(
    shop: ApiWorld, waiting: PostgresAsyncInference
) -> None:
    answer = await post(shop, {"features": [1]}, x_request_id="r-1", x_hotswap_version="2.0.0", x_entity_id="ann")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == "/api/v1/inference/r-1/status"
    assert answer.json().items() >= {"requestId": "r-1", "modelName": "fraud", "status": "Pending"}.items()
    assert (await status(shop, "r-1")).json()["status"] == "Pending"
    assert (await status(shop, "r-1", Role.VIEWER, "eve")).status_code == 200
    refused = await status(shop, "r-1", subject="bob")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "INFERENCE_NOT_FOUND")
    async with at_work(waiting, gateway := FakeGateway()):
        await ended(waiting)
    assert gateway.asked == [
        ("r-1", "fraud", '{"features": [1]}', {"x-hotswap-version": "2.0.0", "x-entity-id": "ann"})
    ]
    seen = (await status(shop, "r-1")).json()
    assert (seen["status"], seen["result"]["prediction"], seen["error"]) == ("Completed", 1, None)


async def test_an_idempotency_key_is_a_request_id_too(shop: ApiWorld, sessions: Sessions) -> None:
    first = await post(shop, {"instances": [[1], [2]]}, idempotency_key="k-1")
    async with sessions.begin() as session:  # the API died before it could note its answer
        forget = "UPDATE idempotency_keys SET status = NULL, claimed_at = now() - interval '1 hour'"
        await session.execute(text(forget))
    again = await post(shop, {"instances": [[1], [2]]}, idempotency_key="k-1")
    assert first.status_code == again.status_code == 202
    assert first.json()["requestId"] == again.json()["requestId"]


async def test_a_body_that_no_replica_takes_is_refused_at_once(shop: ApiWorld) -> None:
    for body, field in (
        ({}, "features"),
        ({"features": [1], "instances": [[1]]}, "features"),
        ({"instances": []}, "instances"),
        ({"instances": 7}, "instances"),
        ({"features": ["\0"]}, "NUL"),
        ({"features": [1], "other": 1}, "other"),
    ):
        answer = await post(shop, body)
        assert answer.status_code == 400, body
        assert field in answer.text
    answer = await post(shop, {"features": [1]}, x_hotswap_environment="Moon")
    assert (answer.status_code, "Production" in answer.text) == (400, True)


async def test_what_waits_is_a_figure_for_prometheus(shop: ApiWorld, waiting: PostgresAsyncInference) -> None:
    async def figure() -> list[str]:
        shown = (await shop.get("/metrics")).text.splitlines()
        return [line for line in shown if line.startswith("hotswap_async_inferences_waiting{")]

    for number in range(2):
        await post(shop, {"features": [1]}, x_request_id=f"r-{number}")
    assert await figure() == ['hotswap_async_inferences_waiting{model="fraud"} 2.0']
    for number in range(2):
        await waiting.finish(f"r-{number}", S.COMPLETED, json.dumps(PREDICTION))
    assert await figure() == []


async def test_an_unknown_model_is_refused_and_too_many_too(shop: ApiWorld) -> None:
    assert (await post(shop, {"features": [1]}, path="unknown/async")).json()["error"]["code"] == "MODEL_NOT_FOUND"
    answers = [await post(shop, {"features": [number]}) for number in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [503]
    assert answers[-1].headers["retry-after"]


async def test_where_it_is_off_it_says_how_to_turn_it_on(world: ApiWorld) -> None:
    answer = await post(world, {"features": [1]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "HOTSWAP_INFERENCE__TOKEN_FILE" in answer.text


async def test_what_failed_says_why_in_the_replicas_words(shop: ApiWorld, waiting: PostgresAsyncInference) -> None:
    said = {
        "error": {
            "code": "INFERENCE_ERROR",
            "message": "fraud 1.0.0 failed on this input",
            "details": [],
            "traceId": "r-1",
            "timestamp": "2026-12-27T06:00:00Z",
        }
    }
    for request_id, answer in (("r-1", json.dumps(said)), ("r-2", "<html>"), ("r-3", None)):
        await post(shop, {"features": [1]}, x_request_id=request_id)
        if answer is not None:
            await waiting.finish(request_id, S.FAILED, answer)
    async with waiting._sessions.begin() as session:
        await session.execute(text("UPDATE async_inferences SET deadline_at = now() WHERE request_id = 'r-3'"))
    errors = {each: (await status(shop, each)).json()["error"]["code"] for each in ("r-1", "r-2", "r-3")}
    assert errors == {"r-1": "INFERENCE_ERROR", "r-2": "UNEXPECTED_ANSWER", "r-3": "TIMEOUT"}
