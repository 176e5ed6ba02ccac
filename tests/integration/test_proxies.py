"""Proxies that are new, were away, have another's name or serve one environment: with the real Envoy."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from hotswap.bootstrap import envoy as bootstrap
from hotswap.cli.app import app
from hotswap.domain.application import ApplicationState
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import TOTAL_WEIGHT, TrafficPlan
from hotswap.domain.vocabulary import Environment, Role
from hotswap.traffic.bus import RedisTrafficBus
from serving.agent_state import INCARNATION, ProxyIdentity
from serving.envoy.files import are_listeners_open, open_listeners
from serving.envoy.gateway import AGENT_SOCKET
from tests.fixtures.envoy import FakeServe, Gateway, Upstream
from tests.fixtures.patience import until
from tests.fixtures.ports import free_port
from tests.fixtures.traffic import STABLE, answered_by, plan


@pytest.fixture
async def newcomer(tmp_path: Path, valkey_url: str) -> AsyncIterator[Gateway]:
    """A proxy whose Envoy runs for the first time, with a replica of the stable; no agent has been there."""
    api = await Upstream.start("api", status=503)
    directory = tmp_path / "newcomer"
    directory.mkdir()
    found = Gateway(directory, api.target, valkey_url)
    await found.start_envoy(takes_requests=False)
    found.serve.targets = {STABLE.application: ((await found.upstream(STABLE.application)).target,)}
    yield found
    await found.close()
    await api.kill()


async def takes_requests(gateway: Gateway) -> bool:
    try:
        await gateway.infer("fraud")
    except httpx.TransportError:
        return False
    return True


async def log_says(caplog: pytest.LogCaptureFixture, words: str) -> None:
    await until(lambda: words in caplog.text, what=lambda: f"{words!r} in {caplog.text[-2000:]!r}")


async def test_a_new_proxy_takes_no_request_before_it_is_registered_and_has_the_plan(
    newcomer: Gateway, bus: RedisTrafficBus, caplog: pytest.LogCaptureFixture
) -> None:
    async with newcomer.agent():
        await log_says(caplog, "until Redis or the API has told it the newest plan")
        assert await newcomer.report(bus) is not None, "whoever sets a weight waits for it already"
        assert not await takes_requests(newcomer)
        await newcomer.publish(bus, plan(3, None))
        await until(lambda: takes_requests(newcomer), what="the listener")
        assert await answered_by(newcomer, 8) == {STABLE.application: 8}


async def test_with_nobody_to_ask_a_proxy_takes_requests_by_the_plan_that_it_has(
    newcomer: Gateway, bus: RedisTrafficBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with newcomer.agent():
        await newcomer.publish(bus, plan(3, None))
    directory = newcomer.settings.agent.envoy_dir
    newcomer.kill_envoy()
    (directory / "lds.json").unlink()
    await newcomer.start_envoy(takes_requests=False)
    monkeypatch.setattr("serving.public_listeners.OPEN_ANYWAY_SECONDS", 0.5)
    async with newcomer.agent(redis_url="redis://127.0.0.1:1/0"):
        await until(lambda: takes_requests(newcomer), what="the listener")
        assert await answered_by(newcomer, 8) == {STABLE.application: 8}


async def test_a_second_proxy_of_one_name_takes_no_request_until_the_first_is_gone(
    gateway: Gateway, newcomer: Gateway, bus: RedisTrafficBus, caplog: pytest.LogCaptureFixture
) -> None:
    agent = newcomer.settings.agent.model_copy(update={"proxy": gateway.settings.agent.proxy})
    newcomer.settings = newcomer.settings.model_copy(update={"agent": agent})
    gateway.serve.targets = newcomer.serve.targets
    async with gateway.agent() as first:
        await gateway.publish(bus, plan(3, None))
        async with newcomer.agent():
            await log_says(caplog, f"another proxy reports as {gateway.settings.agent.proxy}")
            await bus.publish(plan(4, None))
            assert not await takes_requests(newcomer)
            assert await answered_by(gateway, 8) == {STABLE.application: 8}
            [registered] = await bus.proxies()
            assert registered.report.incarnation == first._registration.incarnation
            await bus.remove_proxy(registered.name, incarnation=first._registration.incarnation)


async def test_a_proxy_of_one_environment_has_no_route_of_another(newcomer: Gateway, bus: RedisTrafficBus) -> None:
    agent = newcomer.settings.agent.model_copy(update={"environments": (Environment.STAGING,)})
    newcomer.settings = newcomer.settings.model_copy(update={"agent": agent})
    both = plan(3, None)
    staging = replace(both.routes[0], environment=Environment.STAGING, model="spam")
    async with newcomer.agent():
        report = await newcomer.publish(bus, replace(both, routes=(*both.routes, staging)))
        assert report.environments == (Environment.STAGING,)
        await until(lambda: takes_requests(newcomer), what="the listener")
        assert (await newcomer.infer("fraud")).status_code == 404
        answer = await newcomer.infer("spam", x_hotswap_environment="Staging")
        assert answer.status_code == 200


async def test_the_plan_of_another_installation_changes_nothing(
    newcomer: Gateway, bus: RedisTrafficBus, caplog: pytest.LogCaptureFixture
) -> None:
    async with newcomer.agent():
        await newcomer.publish(bus, replace(plan(3, None), installation="ours"))
        await until(lambda: takes_requests(newcomer), what="the listener")
        await bus._redis.flushdb()
        await bus.publish(TrafficPlan(90, installation="theirs"))
        await log_says(caplog, "it serves installation ours, and was given a plan of theirs")
        assert await answered_by(newcomer, 8) == {STABLE.application: 8}
        report = await newcomer.report(bus)
        assert report is not None
        assert (report.generation, report.installation) == (3, "ours")


async def test_a_restored_database_is_followed_in_its_new_lineage(newcomer: Gateway, bus: RedisTrafficBus) -> None:
    async with newcomer.agent():
        await newcomer.publish(bus, plan(150, None))
        await bus.publish(replace(plan(52, None), lineage=1))

        async def follows() -> bool:
            report = await newcomer.report(bus)
            return report is not None and (report.lineage, report.generation) == (1, 52)

        await until(follows, what="the plan of the new lineage")


@pytest.mark.parametrize("silent_for", [0, 60])
def test_a_proxy_that_was_away_for_longer_than_its_lease_starts_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_for: int
) -> None:
    gateway = Gateway(tmp_path, "127.0.0.1:1", "redis://127.0.0.1:1/0")
    directory = gateway.settings.agent.envoy_dir
    monkeypatch.setattr(bootstrap, "load", lambda _: gateway.settings)
    bootstrap.run()
    assert not are_listeners_open(directory), "it is new"
    open_listeners(gateway.settings)
    incarnation = ProxyIdentity(directory)
    incarnation.renewed()
    then = (directory / INCARNATION).stat().st_mtime - silent_for
    os.utime(directory / INCARNATION, (then, then))
    bootstrap.run()
    assert are_listeners_open(directory) is (silent_for == 0)


async def test_an_envoy_that_runs_is_never_closed(newcomer: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    open_listeners(newcomer.settings)
    monkeypatch.setattr(bootstrap, "load", lambda _: newcomer.settings)
    await asyncio.to_thread(bootstrap.run)
    assert are_listeners_open(newcomer.settings.agent.envoy_dir)


class Away(FakeServe):
    """Ray that is away."""

    async def applications(self) -> dict[str, ApplicationState]:
        raise Unavailable("Ray is away")


async def take_out(gateway: Gateway, *roles: Role, model: str = "fraud", reason: str = "errors") -> httpx.Response:
    return await gateway.http.post(
        f"/api/v1/proxy/withdrawals/Production/{model}", headers=gateway.token(*roles), json={"reason": reason}
    )


@pytest.mark.usefixtures("upstreams")
async def test_a_person_takes_a_candidate_out_at_the_proxy_while_all_else_is_away(
    gateway: Gateway, bus: RedisTrafficBus
) -> None:
    async with gateway.agent():
        await gateway.publish(bus, plan(3, TOTAL_WEIGHT // 2))
        assert len(await answered_by(gateway, 64)) == 2
    async with gateway.agent(redis_url="redis://127.0.0.1:1/0", serve=Away()):
        done = await take_out(gateway, Role.ML_ENGINEER, reason="errors at checkout")
        assert done.status_code == 200, done.text
        told = {"deploymentId": "dep-bbbb", "version": "2.0.0", "by": "ann", "reason": "errors at checkout"}
        assert done.json().items() >= told.items()
        assert await answered_by(gateway, 64) == {STABLE.application: 64}
        again = await take_out(gateway, Role.ML_ENGINEER)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")
    async with gateway.agent():  # it outlives a restart of the agent, and everything is back
        held = await until(lambda: _held(gateway, bus), what="the report of it")
        assert held == "ann took version 2.0.0 out at this proxy: errors at checkout"
        assert await answered_by(gateway, 64) == {STABLE.application: 64}
        await bus.publish(replace(plan(3, TOTAL_WEIGHT // 2), generation=4))  # another model's change
        await until(lambda: _held(gateway, bus, generation=4), what="that a change of another model ends nothing")
        report = await gateway.publish(bus, plan(5, TOTAL_WEIGHT // 4))
        await until(lambda: _ended(gateway, bus), what="its end by a newer change of this route")
        assert report.generation == 5
        assert len(await answered_by(gateway, 64)) == 2


async def _held(gateway: Gateway, bus: RedisTrafficBus, *, generation: int = 3) -> str | None:
    report = await gateway.report(bus)
    return report.held.get("Production/fraud") if report is not None and report.generation >= generation else None


async def _ended(gateway: Gateway, bus: RedisTrafficBus) -> bool:
    report = await gateway.report(bus)
    return report is not None and report.generation == 5 and not report.held and not report.withdrawals


@pytest.mark.usefixtures("upstreams")
async def test_only_those_who_may_steer_a_model_take_its_candidate_out(gateway: Gateway, bus: RedisTrafficBus) -> None:
    socket = gateway.settings.agent.envoy_dir / AGENT_SOCKET
    async with gateway.agent():
        await gateway.publish(bus, plan(3, TOTAL_WEIGHT // 2))
        for role in set(Role) - {Role.ML_ENGINEER, Role.ADMIN}:
            assert (await take_out(gateway, role)).status_code == 403, role
        assert (await gateway.http.post("/api/v1/proxy/withdrawals/Production/fraud", json={})).status_code == 401
        assert (await take_out(gateway, Role.ADMIN, model="spam")).json()["error"]["code"] == "MODEL_NOT_FOUND"
        assert (await take_out(gateway, Role.ADMIN, reason=" ")).status_code == 400
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert len(await answered_by(gateway, 64)) == 2
        await gateway.publish(bus, plan(4, None))
        nothing = await take_out(gateway, Role.ADMIN)
        assert (nothing.status_code, nothing.json()["error"]["code"]) == (409, "CONFLICT")


@pytest.mark.usefixtures("upstreams")
async def test_by_command_line_every_proxy_is_told_by_itself(
    gateway: Gateway, bus: RedisTrafficBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("HOTSWAP_TOKEN", gateway.token(Role.ML_ENGINEER)["authorization"].removeprefix("Bearer "))
    async with gateway.agent():
        await gateway.publish(bus, plan(3, TOTAL_WEIGHT // 2))
        command = [
            "traffic",
            "withdraw",
            "fraud",
            "--reason",
            "errors",
            "--at",
            nobody,
            "--at",
            str(gateway.http.base_url),
        ]
        done = await asyncio.to_thread(CliRunner().invoke, app, command)
        assert done.exit_code == 1
        assert f"{gateway.settings.agent.proxy}: fraud 2.0.0 has no traffic" in done.output
        assert f"{nobody}: " in done.output
        assert await answered_by(gateway, 64) == {STABLE.application: 64}
