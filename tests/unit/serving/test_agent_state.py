"""An agent that has lost its state never gives Envoy less than what Envoy has."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from hotswap.domain.application import ApplicationHealth, ApplicationState
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import Arm, Fence, ProxyReport, Route, TrafficPlan
from hotswap.domain.vocabulary import Environment
from hotswap.ports import ServeCluster, TrafficBus
from hotswap.security.signing import generate_signing_key, public_jwks
from hotswap.settings import TrafficAgentSettings
from serving.agent import Agent
from serving.agent_state import STATE
from serving.envoy import prepare
from serving.envoy.admin import AcceptedVersions, AnswerCounters, EnvoyAdmin
from serving.envoy.gateway import CDS, ECDS, RDS
from tests.fixtures.patience import until

pytestmark = pytest.mark.slow  # each runs agents with their loops

STABLE, CANDIDATE = Arm("Production-fraud-a", "1.0.0", "dep-a"), Arm("Production-fraud-b", "2.0.0", "dep-b")
PLAN = TrafficPlan(7, (Route(Environment.PRODUCTION, "fraud", STABLE, CANDIDATE, 4_000, Fence(1, 1)),))
RUNNING = {
    arm.application: ApplicationState(arm.application, ApplicationHealth.RUNNING, "", (f"127.0.0.1:{port}",))
    for port, arm in enumerate((STABLE, CANDIDATE), 30_000)
}


class ControlLoop:
    """Redis, Ray and Envoy's admin port, as an agent sees them; the first two may be away."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.plan: TrafficPlan | None = None
        self.running: dict[str, ApplicationState] | None = None
        self.reports: list[ProxyReport] = []

    async def plans(self) -> AsyncIterator[TrafficPlan]:
        if self.plan is None:
            raise Unavailable("Redis is away")
        yield self.plan
        await asyncio.Event().wait()

    async def report(self, report: ProxyReport) -> None:
        self.reports.append(report)

    async def applications(self) -> dict[str, ApplicationState]:
        if self.running is None:
            raise Unavailable("Ray is away")
        return self.running

    async def accepted_versions(self) -> AcceptedVersions:
        def version(file: str) -> str:
            found: str = json.loads((self.directory / file).read_text())["version_info"]
            return found

        return AcceptedVersions(version(CDS), version(RDS), version(ECDS))

    async def tally(self) -> AnswerCounters:
        return AnswerCounters(1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrafficAgentSettings:
    monkeypatch.setattr("serving.agent.POLL_SECONDS", 0.01)
    monkeypatch.setattr("serving.agent.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("serving.agent.REPEAT_SECONDS", 0.01)
    monkeypatch.setattr("serving.public_listeners.OPEN_ANYWAY_SECONDS", 0.05)
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(public_jwks(generate_signing_key())))
    made = TrafficAgentSettings.model_validate(
        {
            "redis": {"url": "redis://127.0.0.1:1"},
            "ray": {"auth_token": "unused"},
            "security": {"jwks_file": str(jwks)},
            "agent": {"envoy_dir": str(tmp_path / "envoy")},
            "gateway": {"api_host": "127.0.0.1", "api_port": 1},
        }
    )
    prepare(made)
    return made


@pytest.fixture
def loop(settings: TrafficAgentSettings) -> ControlLoop:
    return ControlLoop(settings.agent.envoy_dir)


@asynccontextmanager
async def running(settings: TrafficAgentSettings, loop: ControlLoop) -> AsyncIterator[None]:
    agent = Agent(settings, cast("TrafficBus", loop), cast("ServeCluster", loop), cast("EnvoyAdmin", loop))
    task = asyncio.create_task(agent.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def routed(settings: TrafficAgentSettings, loop: ControlLoop) -> str:
    """Let an agent give Envoy the plan, and return the routes."""
    loop.plan, loop.running = PLAN, RUNNING
    async with running(settings, loop):
        await until(lambda: loop.reports and loop.reports[-1].generation == PLAN.generation)
    routes = (settings.agent.envoy_dir / RDS).read_text()
    assert CANDIDATE.application in routes
    return routes


@pytest.mark.parametrize("content", [None, b"", b'{"plan": 5}', b"\x00" * 100], ids=["gone", "empty", "old", "torn"])
async def test_envoy_keeps_its_routes_until_all_of_the_state_is_known_again(
    settings: TrafficAgentSettings, loop: ControlLoop, content: bytes | None
) -> None:
    routes = await routed(settings, loop)
    files = {name: (settings.agent.envoy_dir / name).read_bytes() for name in (CDS, RDS)}
    state = settings.agent.envoy_dir / STATE
    state.unlink() if content is None else state.write_bytes(content)
    loop.plan = loop.running = None
    loop.reports.clear()
    async with running(settings, loop):
        await until(lambda: any(report.problem for report in loop.reports))
        assert "Envoy keeps the routes that it has" in (loop.reports[-1].problem or "")
        assert {name: (settings.agent.envoy_dir / name).read_bytes() for name in files} == files
        loop.plan = PLAN
        await until(lambda: loop.reports[-1].problem is not None and "the plan" not in loop.reports[-1].problem)
        assert {name: (settings.agent.envoy_dir / name).read_bytes() for name in files} == files
        loop.running = RUNNING
        await until(lambda: loop.reports[-1].generation == PLAN.generation)
    assert (settings.agent.envoy_dir / RDS).read_text() == routes


async def test_a_new_agent_gives_envoy_its_first_files_without_a_word_of_anybody(
    settings: TrafficAgentSettings, loop: ControlLoop
) -> None:
    async with running(settings, loop):
        await until(lambda: loop.reports and loop.reports[-1].generation == 0)
    assert loop.reports[-1].problem is None


async def test_where_the_candidate_has_nobody_a_new_proxy_leads_all_to_the_stable(
    settings: TrafficAgentSettings, loop: ControlLoop
) -> None:
    loop.plan, loop.running = PLAN, {STABLE.application: RUNNING[STABLE.application]}
    async with running(settings, loop):
        await until(lambda: loop.reports and loop.reports[-1].held)
    assert STABLE.application in (settings.agent.envoy_dir / RDS).read_text()
