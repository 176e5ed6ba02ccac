"""Outcomes through the API: who may report them, what is taken, and what is refused by name."""

import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from hotswap.domain.access import Grant
from hotswap.domain.vocabulary import ArmName, Environment, InferenceStatus, Role
from hotswap.persistence.tables import InferenceRequest
from tests.fixtures.rows import registrar
from tests.integration.api_world import INSPECTION, ApiWorld, registration
from tests.integration.test_api_deployments import error_of

BATCH = "/api/v1/inference/outcomes"


async def known(world: ApiWorld) -> dict[str, str]:
    async with world.sessions() as session:
        rows = await session.execute(text("SELECT request_id, outcome FROM outcomes"))
        return {row.request_id: row.outcome for row in rows}


async def post(world: ApiWorld, path: str, body: Any, *, role: Role = Role.APPLICATION) -> tuple[int, dict[str, Any]]:
    answer = await world.http.post(path, headers=world.token(role, subject="shop"), content=json.dumps(body))
    return answer.status_code, answer.json()


async def test_an_outcome_is_taken_before_its_request_is_known_and_again(world: ApiWorld) -> None:
    for said in (1, 1, "1", 0.0, "malignant"):
        assert await post(world, "/api/v1/inference/req-1/outcome", {"outcome": said}) == (202, {"accepted": 1})
    assert await known(world) == {"req-1": "malignant"}
    async with world.sessions() as session:
        assert await session.scalar(text("SELECT reported_by FROM outcomes")) == "shop"


async def test_a_thousand_are_taken_at_once_and_the_last_of_a_request_counts(world: ApiWorld) -> None:
    outcomes = [{"requestId": f"req-{number % 999}", "outcome": number >= 999} for number in range(1_000)]
    assert await post(world, BATCH, {"outcomes": outcomes}) == (202, {"accepted": 1_000})
    found = await known(world)
    assert (len(found), found["req-0"], found["req-1"]) == (999, "true", "false")


@pytest.mark.parametrize("role", [Role.APPLICATION, Role.DATA_SCIENTIST, Role.ML_ENGINEER, Role.ADMIN])
async def test_who_may_infer_may_report(world: ApiWorld, role: Role) -> None:
    status, _ = await post(world, f"/api/v1/inference/{secrets.token_hex(4)}/outcome", {"outcome": 1}, role=role)
    assert status == 202


async def say(world: ApiWorld, by: str, grant: Grant | Role, **outcomes: int) -> httpx.Response:
    body = {"outcomes": [{"requestId": name, "outcome": outcome} for name, outcome in outcomes.items()]}
    return await world.http.post(BATCH, headers=world.token(grant, subject=by), json=body)


def refusal(answer: httpx.Response) -> tuple[str, list[str]]:
    assert error_of(answer) == (403, "FORBIDDEN"), answer.text
    told = answer.json()["error"]
    return told["message"], [each["message"].split()[0] for each in told["details"]]


async def test_nobody_in_a_team_overwrites_what_another_caller_said(world: ApiWorld) -> None:
    ours, theirs = Grant(Role.APPLICATION, "payments"), Grant(Role.APPLICATION, "fraud")
    assert (await say(world, "shop", ours, a=1, b=1)).status_code == 202
    message, named = refusal(await say(world, "thief", theirs, a=0, b=0, c=0))
    assert "another caller reported" in message
    assert named == ["a", "b"]
    headers = world.token(theirs, subject="thief")
    alone = await world.http.post("/api/v1/inference/a/outcome", headers=headers, json={"outcome": 0})
    assert refusal(alone)[1] == ["a"]
    assert await known(world) == {"a": "1", "b": "1"}, "nothing of a batch is taken when one of it is refused"

    assert (await say(world, "thief", theirs, a=1, c=0)).status_code == 202, "the same again changes nothing"
    assert (await say(world, "shop", ours, a=0)).status_code == 202
    assert (await say(world, "ann", Role.APPLICATION, b=0)).status_code == 202, "a role that counts everywhere"
    assert await known(world) == {"a": "0", "b": "0", "c": "0"}


async def test_what_a_teams_model_answered_is_the_teams_to_report(world: ApiWorld) -> None:
    made = registration(world.model, "1.0.0")
    for model, team in ((world.model, "payments"), (f"{world.model}-2", "fraud"), (f"{world.model}-3", None)):
        registered = replace(made, name=model, team=team)
        await registrar(world.sessions).add_version(registered, INSPECTION)
    noon = datetime.now(UTC)
    async with world.sessions.begin() as session:
        session.add(record("a", world.model, noon))
        session.add(record("a", f"{world.model}-2", noon + timedelta(seconds=1)))  # another's, under the same id
        session.add(record("b", f"{world.model}-3", noon))
    ours, theirs = Grant(Role.APPLICATION, "payments"), Grant(Role.APPLICATION, "fraud")
    message, named = refusal(await say(world, "thief", theirs, a=0, b=0, c=0))
    assert "no team of yours" in message
    assert named == ["a", "b"]
    assert await known(world) == {}
    assert (await say(world, "shop", ours, a=1)).status_code == 202
    assert (await say(world, "ann", Role.APPLICATION, b=1)).status_code == 202
    assert await known(world) == {"a": "1", "b": "1"}


def record(request_id: str, model: str, at: datetime) -> InferenceRequest:
    return InferenceRequest(
        requested_at=at,
        record_id=secrets.token_hex(4),
        request_id=request_id,
        environment=Environment.PRODUCTION,
        model_name=model,
        version="1.0.0",
        deployment_id="dep-a",
        application="app",
        arm=ArmName.STABLE,
        attempt=1,
        is_batch=False,
        instances=1,
        features="[1]",
        prediction="1",
        latency_ms=1.0,
        status=InferenceStatus.COMPLETED,
        completed_at=at,
    )


@pytest.mark.parametrize("role", [Role.VIEWER, Role.TRAFFIC_AGENT])
@pytest.mark.parametrize("path", ["/api/v1/inference/req-1/outcome", BATCH])
async def test_nobody_else_may(world: ApiWorld, path: str, role: Role) -> None:
    status, _ = await post(world, path, {"outcome": 1}, role=role)
    assert status == 403
    assert (await world.http.post(path, json={"outcome": 1})).status_code == 401
    assert await known(world) == {}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"outcome": None},
        {"outcome": ""},
        {"outcome": "x" * 129},
        {"outcome": "a\0b"},
        {"outcome": "\ud800"},
        {"outcome": [1]},
        {"outcome": {"label": 1}},
        {"outcome": 10**4000},
        {"outcome": -1e16},
        {"outcome": 1, "more": 1},
        {"outcome": 1, "observedAt": "2026-12-27T00:00:00"},
        {"outcome": 1, "observedAt": "0001-01-01T00:00:00+14:00"},
        {"outcome": 1, "observedAt": (datetime.now(UTC) + timedelta(days=2)).isoformat()},
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(world: ApiWorld, body: dict[str, Any]) -> None:
    status, said = await post(world, "/api/v1/inference/req-1/outcome", body)
    assert (status, said["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert said["error"]["details"][0]["field"]
    batch = {"outcomes": [{"requestId": "good", "outcome": 1}, {"requestId": "bad", **body}]}
    assert (await post(world, BATCH, batch))[0] == 400
    assert await known(world) == {}, "nothing of a batch is taken when one of it is refused"


@pytest.mark.parametrize(
    "outcomes",
    [
        [],
        [{"requestId": "r", "outcome": 1}] * 1_001,
        [{"requestId": "", "outcome": 1}],
        [{"requestId": "r" * 129, "outcome": 1}],
        [{"requestId": "line\nfeed", "outcome": 1}],
        "outcomes",
    ],
)
async def test_a_batch_is_bounded(world: ApiWorld, outcomes: Any) -> None:
    assert (await post(world, BATCH, {"outcomes": outcomes}))[0] == 400
    assert await known(world) == {}


async def test_no_request_is_named_by_what_cannot_be_one(world: ApiWorld) -> None:
    answer = await world.http.post(
        f"/api/v1/inference/{'r' * 129}/outcome", headers=world.token(Role.APPLICATION), json={"outcome": 1}
    )
    assert error_of(answer) == (400, "VALIDATION_ERROR")


async def test_no_model_is_named_as_the_batch_is(world: ApiWorld) -> None:
    body = {"name": "outcomes", "version": "1.0.0", "framework": "ONNX", "artifactPath": "s3://ml-models/o/1.tar.gz"}
    answer = await world.http.post("/api/v1/models", headers=world.token(Role.ML_ENGINEER), json=body)
    assert answer.status_code == 400
    assert "the API's own paths" in answer.text
