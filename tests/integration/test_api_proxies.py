"""Proxies by REST: the list, the removal of one that is lost, and the reports while Redis is away."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from hotswap.domain.proxies import LEASE_SECONDS
from hotswap.domain.traffic import ProxyReport
from hotswap.domain.vocabulary import Environment, Role
from hotswap.persistence.traffic.proxies import PostgresProxies
from hotswap.traffic.bus import RedisTrafficBus
from tests.integration.api_world import ApiWorld

LIST = "/api/v1/proxies"
REPORT = ProxyReport("envoy-0", 7, 1_700_000_000.5, incarnation="a" * 32, environments=(Environment.PRODUCTION,))


async def report(world: ApiWorld, said: ProxyReport) -> tuple[int, Any]:
    answer = await world.http.post(
        "/internal/traffic/report", headers=world.token(Role.TRAFFIC_AGENT), content=msgspec.json.encode(said)
    )
    return answer.status_code, answer.json() if answer.content else None


async def pass_time(world: ApiWorld, seconds: float) -> None:
    """Let every report to the API be so many seconds older."""
    async with world.sessions.begin() as session:
        await session.execute(text("UPDATE proxy_reports SET at = at - make_interval(secs => :s)"), {"s": seconds})


async def listed(world: ApiWorld) -> dict[str, Any]:
    return {each["name"]: each for each in (await world.get(LIST)).json()["items"]}


async def test_the_list_says_who_is_lost_and_who_is_behind(world: ApiWorld) -> None:
    await report(world, replace(REPORT, problem="plan 8 is not applied: no space left", held={"Production/m": "no"}))
    await pass_time(world, 100)
    await report(world, replace(REPORT, proxy="envoy-1", generation=0, environments=tuple(Environment)))
    found = await listed(world)
    assert [found[name]["state"] for name in ("envoy-0", "envoy-1")] == ["Lost", "Live"]
    assert found["envoy-0"]["silentSeconds"] >= 100
    assert found["envoy-0"]["environments"] == ["Production"]
    assert found["envoy-0"]["problem"] == "plan 8 is not applied: no space left"
    assert (found["envoy-0"]["isCurrent"], found["envoy-1"]["isCurrent"]) == (False, True)
    await pass_time(world, 600)
    assert (await listed(world))["envoy-0"]["state"] == "OutOfCount"


async def test_a_lost_proxy_is_removed_and_that_is_on_record(world: ApiWorld, bus: RedisTrafficBus) -> None:
    world.app.state.parts = replace(world.app.state.parts, bus=bus)
    await bus.report(replace(REPORT, proxy="envoy-9"))
    await report(world, REPORT)
    engineer = world.token(Role.ML_ENGINEER, subject="eve")
    live = await world.http.delete(f"{LIST}/envoy-0", headers=engineer)
    assert live.status_code == 409
    assert "stop its agent and its Envoy first" in live.json()["error"]["message"]
    await pass_time(world, LEASE_SECONDS + 1)
    gone = await world.http.request("DELETE", f"{LIST}/envoy-0", headers=engineer, json={"reason": "its host is gone"})
    assert (gone.status_code, gone.json()["name"]) == (200, "envoy-0")
    assert list(await listed(world)) == ["envoy-9"]
    again = await world.http.delete(f"{LIST}/envoy-0", headers=engineer)
    assert again.status_code == 404
    audit = (await world.get("/api/v1/audit", params={"target": "envoy-0"})).json()["items"]
    said = [(each["action"], each["targetType"], each["actor"], each["why"]) for each in audit]
    assert said == [("remove proxy", "proxy", "eve", "its host is gone")]
    assert (audit[0]["before"]["generation"], audit[0]["after"]) == (7, {"isRegistered": False})


async def test_nothing_is_removed_while_redis_is_away_since_it_may_be_registered_there(world: ApiWorld) -> None:
    await report(world, REPORT)
    await pass_time(world, LEASE_SECONDS + 1)
    refused = await world.http.delete(f"{LIST}/envoy-0", headers=world.token(Role.ADMIN))
    assert refused.status_code == 503
    assert list(await listed(world)) == ["envoy-0"]


async def test_a_second_proxy_of_one_name_is_refused_while_the_first_ones_lease_runs(world: ApiWorld) -> None:
    second = replace(REPORT, incarnation="b" * 32)
    assert (await report(world, REPORT))[0] == 204
    status, answer = await report(world, second)
    assert (status, answer["error"]["code"]) == (409, "PROXY_NAME_TAKEN")
    assert "another proxy reports as envoy-0" in answer["error"]["message"]
    assert (await report(world, replace(REPORT, generation=8)))[0] == 204
    await pass_time(world, LEASE_SECONDS + 1)
    assert (await report(world, second))[0] == 204
    [found] = await PostgresProxies(world.sessions).all()
    assert found.report == second


@pytest.mark.parametrize("seconds", [-3_600, 0])
async def test_a_report_of_a_release_without_incarnations_holds_no_name(world: ApiWorld, seconds: float) -> None:
    assert (await report(world, replace(REPORT, incarnation="")))[0] == 204
    await pass_time(world, seconds)
    assert (await report(world, REPORT))[0] == 204


async def test_a_proxy_signs_off_for_itself_alone(world: ApiWorld) -> None:
    agent = world.token(Role.TRAFFIC_AGENT)
    await report(world, REPORT)
    for incarnation, left in (("b", 1), ("a", 0)):
        answer = await world.http.delete(
            "/internal/traffic/proxies/envoy-0", headers=agent, params={"incarnation": incarnation * 32}
        )
        assert answer.status_code == 204
        assert len(await PostgresProxies(world.sessions).all()) == left


async def test_the_database_gives_a_later_lineage_once(world: ApiWorld) -> None:
    plans = world.app.state.parts.plans
    first = await plans.current()
    renewed = await plans.begin_lineage(after=first.lineage)
    assert renewed.lineage > first.lineage
    assert renewed.installation == first.installation
    assert (await plans.begin_lineage(after=first.lineage)).lineage == renewed.lineage
    assert await plans.current() == renewed
    assert len(first.installation) == 32
