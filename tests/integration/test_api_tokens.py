"""Service tokens: shown once, kept as a hash, exchanged for minutes, rotated, revoked; each of it audited."""

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from hotswap.domain.access import Grant
from hotswap.domain.vocabulary import Role
from hotswap.persistence.tables import ServiceTokenRow
from hotswap.security import jwt, service_tokens
from hotswap.security.signing import public_jwks, write_keys
from tests.fixtures.api_settings import SIGNING_KEY
from tests.fixtures.patience import patient, until
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of

EXCHANGE = "/api/v1/authentication/token"


@pytest.fixture
def signing(world: ApiWorld) -> ApiWorld:
    """The API with the key that signs."""
    file = world.settings.security.jwks_file.with_name("keys.json")
    file.write_text(write_keys([SIGNING_KEY]))
    told = world.settings.security.model_copy(update={"signing_key_file": file})
    world.settings = world.settings.model_copy(update={"security": told})
    world.app.state.parts = replace(world.app.state.parts, settings=world.settings)
    return world


async def create(world: ApiWorld, *roles: str, by: Grant | Role = Role.ADMIN, **more: Any) -> httpx.Response:
    body = {"name": world.model, "roles": list(roles), **more}
    return await world.http.post("/api/v1/tokens", headers=world.token(by), json=body)


async def exchange(world: ApiWorld, token: str, scheme: str = "Bearer") -> httpx.Response:
    return await world.http.post(EXCHANGE, headers={"Authorization": f"{scheme} {token}"})


async def audited(world: ApiWorld, token_id: str) -> list[tuple[str, str, str | None]]:
    told = (await world.get("/api/v1/audit", params={"target": token_id})).json()["items"]
    return [(each["action"], each["actor"], each["why"]) for each in reversed(told)]


async def test_a_token_is_shown_once_and_exchanged_for_ten_minutes(signing: ApiWorld) -> None:
    made = await create(signing, "Application", "payments:MLEngineer", reason="checkout calls")
    assert made.status_code == 201, made.text
    token, token_id = made.json()["token"], made.json()["tokenId"]
    assert made.headers["location"] == f"/api/v1/tokens/{token_id}"
    assert made.headers["cache-control"] == "no-store"

    answer = await exchange(signing, token)
    told = answer.json()
    assert (answer.status_code, told["token_type"], told["expires_in"]) == (200, "Bearer", 600)
    caller = jwt.verify_token(
        told["access_token"], jwks=public_jwks(SIGNING_KEY), issuer="hotswap", audience="hotswap", now=datetime.now(UTC)
    )
    assert caller.subject == f"service:{signing.model}"
    assert caller.grants == {Grant(Role.APPLICATION), Grant(Role.ML_ENGINEER, "payments")}

    listed = await signing.http.get("/api/v1/tokens", headers=signing.token(Role.ADMIN), params={"limit": 200})
    (seen,) = [each for each in listed.json()["items"] if each["tokenId"] == token_id]
    assert seen["roles"] == ["Application", "payments:MLEngineer"]
    assert seen["lastUsedAt"] is not None
    assert "token" not in seen
    assert await audited(signing, token_id) == [
        ("create token", "ann", "checkout calls"),
        ("exchange token", f"service:{signing.model}", None),
    ]
    async with signing.sessions() as session:
        row = await session.scalar(select(ServiceTokenRow).where(ServiceTokenRow.token_id == token_id))
        everything = await session.scalar(text("SELECT string_agg(e::text, '') FROM audit_events e"))
    assert row is not None
    secret = token.split("_")[2]
    assert secret not in json.dumps({name: str(value) for name, value in vars(row).items()})
    assert secret not in everything


async def test_a_use_is_noted_once_a_minute_and_waits_for_nobody(signing: ApiWorld) -> None:
    made = (await create(signing, "Viewer")).json()
    exchanged = ("exchange token", f"service:{signing.model}", None)

    async def noted() -> tuple[int, datetime]:
        async with signing.sessions() as session:
            row = await session.get(ServiceTokenRow, made["tokenId"])
        assert row is not None
        assert row.last_used_at is not None
        return (await audited(signing, made["tokenId"])).count(exchanged), row.last_used_at

    answers = await asyncio.gather(*(exchange(signing, made["token"]) for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert (await noted())[0] == 1
    async with signing.sessions.begin() as session:
        row = await session.get(ServiceTokenRow, made["tokenId"], with_for_update=True)
        assert row is not None
        async with asyncio.timeout(patient(20)):  # somebody has the row, and its use is noted already
            assert (await exchange(signing, made["token"])).status_code == 200
        row.last_used_at = before = datetime.now(UTC) - timedelta(seconds=61)
    assert (await exchange(signing, made["token"])).status_code == 200
    count, last = await noted()
    assert count == 2
    assert last > before


async def test_an_oauth_client_gets_its_token_by_client_credentials(signing: ApiWorld) -> None:
    made = (await create(signing, "Application")).json()

    def basic(user: str, password: str) -> str:
        return base64.b64encode(f"{user}:{password}".encode()).decode()

    body = {"grant_type": "client_credentials"}
    headers = {"Authorization": f"Basic {basic(made['tokenId'], made['token'])}"}
    answer = await signing.http.post(EXCHANGE, headers=headers, data=body)
    assert (answer.status_code, answer.json().keys()) == (200, {"access_token", "token_type", "expires_in"})
    for wrong in (basic("tok-000000000000", made["token"]), basic(made["tokenId"], "x"), "nonsense", "w6k="):
        assert error_of(await exchange(signing, wrong, "Basic")) == (401, "UNAUTHORIZED")


async def test_a_revoked_token_is_refused_and_its_name_is_free(signing: ApiWorld) -> None:
    made = (await create(signing, "Viewer")).json()
    assert error_of(await create(signing, "Viewer")) == (409, "CONFLICT")
    path, admin = f"/api/v1/tokens/{signing.model}", signing.token(Role.ADMIN)
    for _ in range(2):
        revoked = await signing.http.request(
            "DELETE", f"/api/v1/tokens/{made['tokenId']}", headers=admin, json={"reason": "found in a log"}
        )
        assert (revoked.status_code, revoked.json()["revokedBy"]) == (200, "ann")
    refused = await exchange(signing, made["token"])
    assert error_of(refused) == (401, "UNAUTHORIZED")
    assert made["token"] not in refused.text
    assert error_of(await signing.http.post(f"{path}/rotate", headers=admin)) == (404, "NOT_FOUND")
    by_id = await signing.http.post(f"/api/v1/tokens/{made['tokenId']}/rotate", headers=admin)
    assert error_of(by_id) == (409, "CONFLICT")
    assert (await create(signing, "Viewer")).status_code == 201
    assert [action for action, _, _ in await audited(signing, made["tokenId"])] == ["create token", "revoke token"]
    params: dict[str, Any] = {"limit": 200}
    listed = (await signing.http.get("/api/v1/tokens", headers=admin, params=params)).json()["items"]
    assert made["tokenId"] not in {each["tokenId"] for each in listed}
    ended = (await signing.http.get("/api/v1/tokens", headers=admin, params=params | {"all": True})).json()["items"]
    assert made["tokenId"] in {each["tokenId"] for each in ended}


async def test_both_secrets_count_while_one_is_rotated(signing: ApiWorld) -> None:
    made = (await create(signing, "Viewer")).json()
    path, admin = f"/api/v1/tokens/{made['tokenId']}/rotate", signing.token(Role.ADMIN)
    second = (await signing.http.post(path, headers=admin)).json()
    assert second["tokenId"] == made["tokenId"]
    assert [(await exchange(signing, each["token"])).status_code for each in (made, second)] == [200, 200]
    third = (await signing.http.post(path, headers=admin, json={"overlap": "PT0S"})).json()
    statuses = [(await exchange(signing, each["token"])).status_code for each in (made, second, third)]
    assert statuses == [401, 401, 200]
    assert ("rotate token", "ann", None) in await audited(signing, made["tokenId"])


async def test_what_is_exchanged_ends_with_the_token_itself(signing: ApiWorld) -> None:
    made = (await create(signing, "Viewer", expiresIn="PT90S")).json()
    assert 0 < (await exchange(signing, made["token"])).json()["expires_in"] <= 90
    async with signing.sessions.begin() as session:
        row = await session.get(ServiceTokenRow, made["tokenId"])
        assert row is not None
        row.expires_at = datetime.now(UTC) - timedelta(seconds=1)
    assert error_of(await exchange(signing, made["token"])) == (401, "UNAUTHORIZED")


async def test_of_another_secret_only_the_form_is_right(signing: ApiWorld) -> None:
    made = (await create(signing, "Viewer")).json()
    typo = made["token"][:-1] + ("a" if made["token"][-1] != "a" else "b")
    for wrong in (service_tokens.mint(made["tokenId"]), service_tokens.mint("tok-000000000000"), typo, "", "hst_"):
        assert error_of(await exchange(signing, wrong)) == (401, "UNAUTHORIZED")


async def test_a_team_is_administered_by_its_admins(signing: ApiWorld) -> None:
    theirs, others = Grant(Role.ADMIN, "payments"), Grant(Role.ADMIN, "fraud")
    for roles in (["Viewer"], ["fraud:Viewer"], ["payments:Viewer", "Application"]):
        refused = await create(signing, *roles, by=theirs)
        assert error_of(refused) == (403, "FORBIDDEN")
        assert "this needs the role Admin" in refused.json()["error"]["message"]
    made = (await create(signing, "payments:DataScientist", by=theirs)).json()
    path = f"/api/v1/tokens/{made['tokenId']}"
    assert error_of(await signing.http.delete(path, headers=signing.token(others))) == (403, "FORBIDDEN")
    assert error_of(await signing.http.post(f"{path}/rotate", headers=signing.token(others))) == (403, "FORBIDDEN")
    for grant, sees in ((theirs, True), (others, False), (Role.ADMIN, True)):
        listed = await signing.http.get("/api/v1/tokens", headers=signing.token(grant), params={"limit": 200})
        assert (made["tokenId"] in {each["tokenId"] for each in listed.json()["items"]}) is sees
    assert (await signing.http.delete(path, headers=signing.token(theirs))).status_code == 200


@pytest.mark.usefixtures("worker")
async def test_a_program_is_no_second_pair_of_eyes(world: ApiWorld) -> None:
    await world.add_version()
    deployment = (await world.deploy(by="ann")).json()["deploymentId"]
    refused = await world.say(deployment, "approve", by="service:ci")
    assert error_of(refused) == (403, "FORBIDDEN")
    assert "needs a person's approval" in refused.json()["error"]["message"]
    await until(lambda: world.was_opened(deployment))
    assert (await world.say(deployment, "abort", by="service:ci")).status_code == 200


@pytest.mark.usefixtures("worker")
async def test_who_was_shown_a_token_is_no_second_pair_of_eyes(world: ApiWorld) -> None:
    async def asked(path: str, by: str, **body: Any) -> None:
        headers = world.token(Role.ADMIN, subject=by)
        assert (await world.http.post(path, headers=headers, json=body)).is_success

    async def refusal(deployment: str, by: str) -> str:
        answer = await world.say(deployment, "approve", by=by)
        assert error_of(answer) == (403, "FORBIDDEN"), answer.text
        return str(answer.json()["error"]["message"])

    first, second = world.model, f"{world.model}-2"
    await asked("/api/v1/tokens", "ann", name=first, roles=["Admin"])
    await asked(f"/api/v1/tokens/{first}/rotate", "bob")
    await asked("/api/v1/tokens", f"service:{first}", name=second, roles=["MLEngineer"])
    await world.add_version()
    deployment = (await world.deploy(by=f"service:{second}")).json()["deploymentId"]
    for held in ("ann", "bob"):  # each could have asked through the first, which made the second
        assert f"{held} made that token or gave it a new secret" in await refusal(deployment, held)
    await until(lambda: world.was_opened(deployment))
    carol = await world.say(deployment, "approve", by="carol")
    assert error_of(carol) == (409, "CONFLICT"), "she may, but here nothing waits for it"
    assert "nothing waits for an approval" in carol.json()["error"]["message"]
    assert (await world.say(deployment, "abort")).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"roles": ["Root"]}, "roles.0"),
        ({"roles": ["TrafficAgent"]}, "roles.0"),
        ({"roles": []}, "roles"),
        ({"expiresIn": "P400D"}, "expiresIn"),
        ({"expiresIn": "PT0S"}, "expiresIn"),
        ({"name": "tok-1"}, "name"),
        ({"name": "Checkout"}, "name"),
    ],
)
async def test_what_is_no_token_is_refused_by_name(signing: ApiWorld, body: dict[str, Any], field: str) -> None:
    asked = {"name": "checkout", "roles": ["Viewer"], **body}
    refused = await signing.http.post("/api/v1/tokens", headers=signing.token(Role.ADMIN), json=asked)
    assert error_of(refused) == (400, "VALIDATION_ERROR")
    assert [each["field"] for each in refused.json()["error"]["details"]] == [field]


async def test_without_a_signing_key_nothing_is_exchanged(world: ApiWorld) -> None:
    made = (await create(world, "Viewer")).json()
    assert error_of(await exchange(world, made["token"])) == (404, "NOT_FOUND")
