"""Tokens at a real Envoy: keys come and go and refuse nobody meanwhile, and a team's role counts for its models."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from hotswap.domain.access import Grant
from hotswap.domain.traffic import TrafficPlan
from hotswap.domain.vocabulary import Role
from hotswap.security.signing import generate_signing_key, public_jwks
from hotswap.storage.files import write_atomically
from hotswap.traffic.bus import RedisTrafficBus
from tests.fixtures.envoy import Gateway
from tests.fixtures.patience import patient
from tests.fixtures.traffic import plan


def published(gateway: Gateway, *keys: dict[str, Any]) -> None:
    write_atomically(gateway.settings.security.jwks_file, json.dumps(public_jwks(*keys)))


async def status(gateway: Gateway, headers: dict[str, str]) -> int:
    return (await gateway.infer("fraud", dict(headers))).status_code


async def until_status(gateway: Gateway, headers: dict[str, str], expected: int) -> None:
    async with asyncio.timeout(patient(10)):
        while await status(gateway, headers) != expected:
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("upstreams")
async def test_a_rotation_refuses_nobody_and_a_retired_key_is_refused(gateway: Gateway, bus: RedisTrafficBus) -> None:
    old, new = gateway.key, generate_signing_key()
    by_old = gateway.token(Role.APPLICATION)
    gateway.key = new
    by_new = gateway.token(Role.APPLICATION)
    statuses: list[int] = []

    async def callers() -> None:
        while True:
            statuses.append(await status(gateway, by_old))

    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        assert await status(gateway, by_new) == 401, "nobody knows it yet"
        calling = asyncio.create_task(callers())
        published(gateway, old, new)
        await until_status(gateway, by_new, 200)
        assert [await status(gateway, by_old), await status(gateway, by_new)] == [200, 200]
        seen = len(statuses)
        async with asyncio.timeout(patient(10)):
            while len(statuses) < seen + 10:
                await asyncio.sleep(0.01)
        calling.cancel()
        await asyncio.wait([calling])
        assert seen > 0, "also before and while the keys changed"
        assert set(statuses) == {200}, "the change itself must not be seen"
        published(gateway, new)
        await until_status(gateway, by_old, 401)
        assert await status(gateway, by_new) == 200


@pytest.mark.usefixtures("upstreams")
async def test_a_role_in_a_team_infers_that_teams_models_only(gateway: Gateway, bus: RedisTrafficBus) -> None:
    ours = gateway.token(Grant(Role.APPLICATION, "payments"), Role.VIEWER)
    others = gateway.token(Grant(Role.ADMIN, "fraud"), Grant(Role.VIEWER, "payments"))
    everybody = gateway.token(Role.APPLICATION)
    async with gateway.agent():
        for generation, team, expected in ((1, "payments", 200), (2, "fraud: eu", 403), (3, None, 403)):
            of_team = replace(plan(generation, 0).routes[0], team=team)
            await gateway.publish(bus, TrafficPlan(generation, (of_team,)))
            for more in ({}, {"x_hotswap_version": "2.0.0"}, {"x_hotswap_tester": "true"}):
                asked = [await gateway.infer("fraud", dict(each), **more) for each in (ours, others, everybody)]
                assert [each.status_code for each in asked] == [expected, 403, 200], (team, more)
            open_ = await gateway.http.get("/v2/models/fraud", headers=ours)
            assert open_.status_code == expected


@pytest.mark.usefixtures("upstreams")
async def test_keys_that_can_not_be_read_hold_up_no_weight(gateway: Gateway, bus: RedisTrafficBus) -> None:
    headers = gateway.token(Role.APPLICATION)
    async with gateway.agent():
        await gateway.publish(bus, plan(1, None))
        gateway.settings.security.jwks_file.write_text("{")
        report = await gateway.publish(bus, plan(2, 0))
        assert report.problem is None
        assert await status(gateway, headers) == 200, "the keys stay as they were"
