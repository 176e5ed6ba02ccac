"""Another issuer's tokens at a real Envoy: who may infer by what its groups mean, and keys that come, go and stay."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from hotswap.domain.traffic import TrafficPlan
from hotswap.domain.vocabulary import Role
from hotswap.security import oidc
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.envoy import Gateway, Upstream
from tests.fixtures.issuer import Issuer, ec_key
from tests.fixtures.patience import patient
from tests.fixtures.traffic import STABLE, plan

ROLES = {
    "apps": ["Application"],
    "readers": ["Viewer"],
    "payments": ["payments:Application", "Viewer"],
    "scoring": ["fraud:Admin", "DataScientist"],
}


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    yield made
    await made.stop()


@pytest.fixture
async def trusting(tmp_path: Path, valkey_url: str, issuer: Issuer) -> AsyncIterator[Gateway]:
    """An Envoy whose agent believes the issuer, which is not up yet; one model's stable serves."""
    api = await Upstream.start("api")
    told = {
        "issuer": issuer.url,
        "roles": ROLES,
        "roles_claim": ["realm_access", "roles"],
        "cache_file": tmp_path / "oidc.json",
        "refresh": "PT1S",
    }
    found = Gateway(tmp_path, api.target, valkey_url, oidc=told, limits={"inference": 10_000})
    stable = await found.upstream(STABLE.application)
    found.serve.targets = {STABLE.application: (stable.target,)}
    await found.start_envoy()
    yield found
    await found.close()
    await api.kill()


def token(issuer: Issuer, *names: str, **claims: Any) -> dict[str, str]:
    return issuer.token(realm_access={"roles": list(names)}, **claims)


async def infer(gateway: Gateway, headers: dict[str, str], **more: str) -> httpx.Response:
    return await gateway.infer("fraud", dict(headers), **more)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(patient(15)):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_its_tokens_count_by_what_their_names_mean_and_while_it_is_away(
    trusting: Gateway, issuer: Issuer, bus: RedisTrafficBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "LEAST_SECONDS_BETWEEN", 0.2)
    by_first = token(issuer, "apps")

    async def status(headers: dict[str, str]) -> int:
        return (await infer(trusting, headers)).status_code

    async def is_status(headers: dict[str, str], expected: int) -> bool:
        return await status(headers) == expected

    async with trusting.agent():
        await trusting.publish(bus, plan(1, None))
        assert await status(by_first) == 401, "its keys were never got"
        assert await status(trusting.token(Role.APPLICATION)) == 200, "which is nothing to our own tokens"
        await issuer.start()
        await until(lambda: is_status(by_first, 200))
        for headers, expected in (
            (token(issuer, "others", "scoring"), 200),
            (issuer.token(realm_access={"roles": "apps"}), 200),
            (token(issuer, "readers"), 403),
            (token(issuer, "payments"), 403),  # of another team than the model, which has none
            (token(issuer, "Application"), 403),
            (issuer.token(roles=["Application"]), 403),
            (issuer.token(roles=["Application"], realm_access=["apps"]), 403),
            (token(issuer, "apps", aud="somebody-else"), 403),
            (token(issuer, "apps", exp=1), 401),
            (token(issuer, "apps", key=ec_key("first")), 401),
            (trusting.token(Role.APPLICATION), 200),
            (trusting.token(Role.VIEWER), 403),
            (trusting.token(), 403),
            ({}, 401),
        ):
            answer = await infer(trusting, headers)
            assert answer.status_code == expected, (headers, answer.text)
        seen = await infer(trusting, token(issuer, "apps", sub="u-7"), x_hotswap_subject="somebody-else")
        assert seen.json()["headers"]["x-hotswap-subject"] == "u-7"

        issuer.keys.append(ec_key("second"))
        by_second = token(issuer, "apps")
        await until(lambda: is_status(by_second, 200))
        assert await status(by_first) == 200
        paying, reading = token(issuer, "payments"), token(issuer, "readers")
        await issuer.stop()
    async with trusting.agent():
        theirs = replace(plan(2, None).routes[0], team="payments")
        await trusting.publish(bus, TrafficPlan(2, (theirs,)))
        assert [await status(by_first), await status(by_second)] == [200, 200], "by a new agent, while it is down"
        assert [await status(by_names) for by_names in (paying, reading)] == [200, 403]
        del issuer.keys[0]
        await issuer.start()
        await until(lambda: is_status(by_first, 401))
        assert await status(by_second) == 200
