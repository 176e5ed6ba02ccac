"""How often a caller may ask: counted in a real Redis, and what holds while it is dead."""

import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher

from api.limits import RateLimits, impatient, network_of
from hotswap.domain.headers import CLIENT_ADDRESS_HEADER
from hotswap.domain.vocabulary import Role
from hotswap.security import service_tokens
from hotswap.settings import LimitSettings
from tests.fixtures.api_settings import SIGNING_KEY, make_settings
from tests.fixtures.valkey import ValkeyServer
from tests.integration.api_world import ApiWorld

LIMITS = LimitSettings(
    registrations=3,
    deployments=2,
    logins_of_user=2,
    logins_from_address=5,
    exchanges_of_token=3,
    exchanges_from_address=5,
)


@pytest.fixture
async def limited(world: ApiWorld, own_valkey: ValkeyServer, tmp_path: Path) -> AsyncIterator[ApiWorld]:
    """The API with small limits and some local users, whose passwords are quick to check."""
    password = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("right horse")
    users, key = tmp_path / "users.toml", tmp_path / "key.json"
    known = ["ann", *(f"user-{number}" for number in range(10))]
    users.write_text("".join(f'[users.{name}]\npassword = "{password}"\nroles = ["MLEngineer"]\n' for name in known))
    key.write_text(json.dumps(SIGNING_KEY))
    async with impatient(own_valkey.url) as redis:
        world.app.state.parts = replace(
            world.app.state.parts,
            settings=make_settings(tmp_path, security={"users_file": str(users), "signing_key_file": str(key)}),
            limits=RateLimits(redis, LIMITS),
        )
        yield world


async def register(world: ApiWorld, *, by: str) -> httpx.Response:
    body = {"name": world.model, "version": "1.0.0", "framework": "ONNX", "artifactPath": "s3://ml-models/x.tar.gz"}
    return await world.http.post("/api/v1/models", headers=world.token(Role.DATA_SCIENTIST, subject=by), json=body)


async def login(world: ApiWorld, *, user: str = "ann", is_right: bool = False, address: str) -> httpx.Response:
    headers = {CLIENT_ADDRESS_HEADER: address}
    body = {"user": user, "password": "right horse" if is_right else "wrong horse"}
    return await world.http.post("/api/v1/authentication/login", json=body, headers=headers)


async def create_token(world: ApiWorld) -> str:
    body = {"name": f"p-{secrets.token_hex(4)}", "roles": ["Viewer"]}
    made = await world.http.post("/api/v1/tokens", headers=world.token(Role.ADMIN), json=body)
    return str(made.json()["token"])


async def exchange(world: ApiWorld, token: str, *, address: str) -> httpx.Response:
    headers = {CLIENT_ADDRESS_HEADER: address, "Authorization": f"Bearer {token}"}
    return await world.http.post("/api/v1/authentication/token", headers=headers)


def check_told(answer: httpx.Response, limit: int, what: str) -> None:
    told = answer.json()["error"]
    assert (answer.status_code, told["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert f"a limit of {limit} {what} a minute" in told["message"]
    assert 55 <= int(answer.headers["retry-after"]) <= 60


async def test_each_caller_may_register_and_deploy_so_often_a_minute(limited: ApiWorld) -> None:
    await limited.add_version()
    left = [await register(limited, by="dora") for _ in range(3)]
    assert [answer.status_code for answer in left] == [409, 409, 409]  # it is there, but who asks is counted first
    check_told(await register(limited, by="dora"), 3, "registrations")
    assert (await register(limited, by="eve")).status_code == 409
    first = await limited.deploy(environment="Staging", onConflict="queue")
    assert first.status_code == 202
    assert first.headers["ratelimit-policy"] == '"deployments";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"deployments";r=1;t=')
    assert (await limited.deploy(environment="Staging", onConflict="queue")).status_code == 202
    check_told(await limited.deploy(environment="Staging", onConflict="queue"), 2, "deployments")
    assert (await limited.deploy(by="bob", environment="Staging")).status_code != 429


async def test_what_starts_nothing_or_goes_back_is_not_counted(limited: ApiWorld) -> None:
    await limited.add_version()
    accepted = await limited.deploy(environment="Staging", onConflict="queue")
    await limited.deploy(environment="Staging", onConflict="queue")
    headers = limited.token(Role.ML_ENGINEER)
    check_told(await limited.deploy(environment="Staging"), 2, "deployments")
    for _ in range(3):
        dry = await limited.http.post(
            "/api/v1/deployments?dryRun=true", headers=headers, json={"modelId": limited.model}
        )
        assert dry.status_code == 200
        rolled_back = await limited.say(accepted.json()["deploymentId"], "rollback")
        aborted = await limited.say(accepted.json()["deploymentId"], "abort")
        assert 429 not in {rolled_back.status_code, aborted.status_code}


async def test_logins_are_limited_by_user_and_by_address(limited: ApiWorld) -> None:
    for address in ("2001:db8:0:2::1", "2001:db8:0:2::2"):
        assert (await login(limited, address=address)).status_code == 401
    right = await login(limited, is_right=True, address="2001:db8:0:2::3")
    check_told(right, 2, "logins of this user from this address")  # which is not a word about the password
    for number in range(5):
        assert (await login(limited, user=f"user-{number}", address=f"2001:db8::{number}")).status_code == 401
    check_told(await login(limited, user="user-9", address="2001:db8::9"), 5, "logins from this address")
    assert (await login(limited, user="user-9", address="2001:db8:0:1::1")).status_code == 401


async def test_nobody_is_locked_out_by_a_strangers_wrong_passwords(limited: ApiWorld) -> None:
    tries = [await login(limited, address=f"192.0.2.{host}") for host in (1, 2) for _ in range(3)]
    assert [each.status_code for each in tries] == [401, 401, 429] * 2
    assert (await login(limited, is_right=True, address="192.0.2.3")).status_code == 200


async def test_exchanges_are_limited_by_token_and_by_address(limited: ApiWorld) -> None:
    token, other = [await create_token(limited) for _ in range(2)]
    shown = service_tokens.read(token)
    assert shown is not None
    for number in range(4):  # who guesses is counted by address, and locks no program out
        wrong = await exchange(limited, service_tokens.mint(shown.token_id), address=f"198.51.100.{number}")
        assert wrong.status_code == 401
    for number in range(3):
        assert (await exchange(limited, token, address=f"192.0.2.{number}")).status_code == 200
    check_told(await exchange(limited, token, address="192.0.2.9"), 3, "exchanges of this token")
    assert (await exchange(limited, other, address="192.0.2.9")).status_code == 200
    for number in range(5):
        nobodys = service_tokens.mint("tok-000000000000")
        assert (await exchange(limited, nobodys, address=f"2001:db8::{number}")).status_code == 401
    check_told(await exchange(limited, other, address="2001:db8::9"), 5, "token exchanges from this address")


async def test_without_redis_deployments_go_on_and_logins_do_not(limited: ApiWorld, own_valkey: ValkeyServer) -> None:
    await limited.add_version()
    token = await create_token(limited)
    for _ in range(2):
        await limited.deploy(environment="Staging", onConflict="queue")
    check_told(await limited.deploy(environment="Staging"), 2, "deployments")
    own_valkey.kill()
    for _ in range(4):
        assert (await exchange(limited, token, address="192.0.2.1")).status_code == 200
    urgent = await limited.deploy(environment="Staging", onConflict="supersede")
    assert (urgent.status_code, "ratelimit" in urgent.headers) == (202, False)
    assert (await register(limited, by="dora")).status_code == 409
    refused = await login(limited, is_right=True, address="192.0.2.1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "Redis" in refused.json()["error"]["message"]
    await own_valkey.start()
    assert (await login(limited, is_right=True, address="192.0.2.1")).status_code == 200


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("nowhere", "nowhere"),
    ],
)
def test_an_ipv6_host_can_not_be_many(address: str, counted_as: str) -> None:
    assert network_of(address) == counted_as
