"""The traffic agent beside one Envoy: `python -m serving.agent`.

Plans and replicas' addresses go into Envoy's files, make before break: first all clusters, old and new, then the
routes, and an old cluster only after it has drained. A plan is acknowledged when Envoy itself repeats the versions of
both files, never earlier; a route whose candidate has no replica to answer is held as it was, and said to be. What the
agent knows is kept in files, so Envoy and the agent may restart while everything else is dead, and traffic goes on.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import Any

import httpx
import msgspec
from anyio import create_task_group
from redis.asyncio import Redis

from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import Arm, ProxyReport, Route, TrafficPlan
from hotswap.ports import ServeCluster, TrafficBus
from hotswap.process.lifetime import run_service, until_terminated
from hotswap.process.plain_http import plain_client
from hotswap.security.oidc import IssuerKeys
from hotswap.settings import TrafficAgentSettings
from hotswap.storage.files import write_atomically
from hotswap.telemetry.logs import mark_ready
from hotswap.traffic.bus import RedisTrafficBus, decode_plan
from serving.counting import GrowingCounts
from serving.draining import Draining
from serving.envoy import prepare
from serving.envoy.admin import EnvoyAdmin
from serving.envoy.clusters import clusters
from serving.envoy.fallback import Fallback, composite_cluster, fallbacks
from serving.envoy.files import api_address, current_jwt_filter, has_applications, write_resources
from serving.envoy.gateway import CDS, ECDS, RDS
from serving.envoy.pinned_clusters import application_of, cluster_names
from serving.envoy.routes import route_configuration
from serving.ray.client import RayServeClient

POLL_SECONDS = 0.5
LOOK_SECONDS = 1.0
"""Between two looks at Ray Serve: each costs its controller a look at every replica."""
REPEAT_SECONDS = 2.0
"""After so long without a change Envoy is asked whether it still has what it was given."""
TAKE_SECONDS = 3.0
STATE = "known.json"
PLAN, REPLICAS = "the plan", "the replicas"
DRAIN_SECONDS = 6.0

logger = logging.getLogger(__name__)


class AgentState(msgspec.Struct):
    """The state with which the agent starts if no server answers; `applied` is what Envoy has taken of the plan."""

    plan: TrafficPlan = TrafficPlan()
    applied: TrafficPlan = TrafficPlan()
    targets: dict[str, tuple[str, ...]] = {}


class StateLost(Exception):
    """The agent's state can't be read, so it may know less than what Envoy has been given."""


class ConfigNotAccepted(Exception):
    """Envoy didn't take a file in time; the message says why as far as Envoy tells."""


class Agent:
    def __init__(
        self, settings: TrafficAgentSettings, bus: TrafficBus, cluster: ServeCluster, admin: EnvoyAdmin
    ) -> None:
        self._settings = settings
        self._directory = settings.agent.envoy_dir
        self._bus = bus
        self._cluster = cluster
        self._admin = admin
        self._api = PlanEndpoint(settings)
        self._issuer = IssuerKeys(settings.oidc) if settings.oidc.issuer is not None else None
        self._missing: set[str] = set()
        """The parts of a lost state that have not been learnt anew. Until then Envoy keeps what it has."""
        self._state = self._read_state()
        self._kept = b""
        self._active: dict[str, int] | None = None
        self._counts = GrowingCounts(self._directory / "counts.json")
        self._counting = asyncio.Lock()
        self._acknowledged = -1
        self._problem: str | None = None
        self._keys_problem: str | None = None
        self._changed = asyncio.Event()
        self._held: dict[str, str] = {}
        # A request that hangs at the candidate must still find its way to the stable when it is given up.
        drain = max(DRAIN_SECONDS, settings.gateway.candidate_timeout.total_seconds() + 1)
        self._own_clusters = Draining[str](drain)
        self._fallbacks = Draining[Fallback](drain)

    async def run(self) -> None:
        """Run until cancelled. The proxy stays registered: its Envoy may well continue to route without this agent."""
        self._changed.set()
        async with create_task_group() as group:
            for loop in (self._follow_plans, self._follow_replicas, self._keep_applied, self._keep_reporting):
                group.start_soon(loop)
            if self._issuer is not None:
                group.start_soon(self._issuer.keep, self._changed.set)

    # --- what should be -----------------------------------------------------------------------------------------------

    async def _follow_plans(self) -> None:
        while True:
            try:
                async for plan in self._bus.plans():
                    self._learn_plan(plan)
            except (Unavailable, msgspec.MsgspecError):
                with contextlib.suppress(httpx.HTTPError, msgspec.MsgspecError, OSError):
                    self._learn_plan(await self._api.plan())
            await asyncio.sleep(POLL_SECONDS)

    def _learn_plan(self, plan: TrafficPlan) -> None:
        if plan.generation > self._state.plan.generation or PLAN in self._missing:
            self._missing.discard(PLAN)
            self._state.plan = plan
            self._changed.set()

    async def _follow_replicas(self) -> None:
        while True:
            if await self._learn_replicas():
                self._changed.set()
            await asyncio.sleep(LOOK_SECONDS)

    async def _learn_replicas(self) -> bool:
        """Read the replicas, and return whether any came or went."""
        try:
            states = await self._cluster.applications()
        except Unavailable:
            # While Ray doesn't answer its replicas may well do: the last addresses stay.
            return False
        targets = {name: state.targets for name, state in states.items() if state.targets}
        routed = self._state.plan.applications
        # Unless its port was given to another's replica, as a restart may: that one would answer 404 in its name.
        taken = {target for found in targets.values() for target in found}
        for name, last in self._state.targets.items():
            if name in routed:
                targets.setdefault(name, tuple(target for target in last if target not in taken))
        changed = targets != self._state.targets or REPLICAS in self._missing
        self._missing.discard(REPLICAS)
        self._state.targets = targets
        return changed

    # --- making it so -------------------------------------------------------------------------------------------------

    async def _keep_applied(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPEAT_SECONDS):
                    await self._changed.wait()
            self._changed.clear()
            plan, before = self._state.plan, (self._acknowledged, self._problem, self._held)
            try:
                self._held = await self._apply(plan)
                self._acknowledged, self._problem = plan.generation, None
                mark_ready()
            except (httpx.HTTPError, ConfigNotAccepted, StateLost, OSError, ValueError) as error:
                self._problem = f"plan {plan.generation} is not applied: {error}"
            if (self._acknowledged, self._problem, self._held) != before:
                for said in filter(None, (self._problem, *self._held.values())):
                    logger.warning(said)
                # A step's figures are counted from here on: what the weight before answered must not be among them.
                await self._count()
                await self._report()

    async def _apply(self, plan: TrafficPlan) -> dict[str, str]:
        """Make Envoy's files say what the plan says; the routes that had to be held, with the reason."""
        if self._missing:
            missing = " and ".join(sorted(self._missing))
            raise StateLost(
                f"{STATE} can't be read, so Envoy keeps the routes that it has until {missing} are known again, from "
                "Redis or the API and from Ray"
            )
        if any(self._has_nobody(route.candidate) for route in plan.routes):
            # The plan was quicker than the last look at Ray Serve.
            await self._learn_replicas()
        applied, held = self._with_held_routes(plan)
        cds = write_resources(self._directory / CDS, self._clusters(applied))
        await self._await_accepted("cds", cds)
        routes = route_configuration(applied, self._settings.oidc, is_ready=self._has_answers(applied))
        rds = write_resources(self._directory / RDS, [routes])
        keys = self._write_keys()
        await self._await_accepted("rds", rds)
        if keys is not None:
            await self._await_accepted("ecds", keys)
        self._state.applied = applied
        self._keep_state()
        return held

    def _write_keys(self) -> str | None:
        """Write the keys that Envoy trusts.

        An unreadable key file changes nothing: it must not keep an abort from Envoy.
        """
        try:
            version = write_resources(
                self._directory / ECDS,
                [current_jwt_filter(self._settings, self._issuer.jwks if self._issuer else None)],
            )
        except (OSError, ValueError) as error:
            problem = f"the keys of tokens stay as they were, since they can't be read: {error}"
            if problem != self._keys_problem:
                logger.warning(problem)
            self._keys_problem = problem
            return None
        self._keys_problem = None
        return version

    def _clusters(self, applied: TrafficPlan) -> list[dict[str, Any]]:
        """Return the clusters for this plan, and those that must stay beside them.

        A route never names a cluster that Envoy doesn't have yet, and no cluster goes while a request may be on it.
        """
        before, now = self._state.applied, time.monotonic()
        names = self._own_clusters.beside(cluster_names(applied), before=cluster_names(before), now=now)
        wanted = fallbacks(applied)
        kept = self._fallbacks.beside(wanted, before=fallbacks(before), now=now)
        targets = {name: self._state.targets.get(application_of(name), ()) for name in names}
        by_cluster = {each.cluster: each for each in (*kept, *wanted)}
        composites = [composite_cluster(by_cluster[name]) for name in sorted(by_cluster)]
        return [*clusters(targets, api=api_address(self._settings)), *composites]

    def _with_held_routes(self, plan: TrafficPlan) -> tuple[TrafficPlan, dict[str, str]]:
        """Return the plan, but with the old route wherever a candidate has weight and no replica that answers.

        Where there is no old route the stable has all of it.
        """
        before = {route.key: route for route in self._state.applied.routes}
        routes, held = [], {}
        for route in plan.routes:
            if reason := self._lacks_replicas(route):
                held[route.key] = reason
                if (known := before.get(route.key)) is not None:
                    routes.append(known)
                elif route.stable is not None:
                    routes.append(replace(route, candidate_weight=0))
            else:
                routes.append(route)
        return TrafficPlan(plan.generation, tuple(routes)), held

    def _lacks_replicas(self, route: Route) -> str | None:
        candidate = route.candidate
        if candidate is None or route.candidate_weight == 0 or not self._has_nobody(candidate):
            return None
        return f"{candidate.application} is to have {route.candidate_weight / 100:g}% but has no ready replica"

    def _has_answers(self, applied: TrafficPlan) -> bool:
        """Return whether every arm with weight has a replica that answers."""
        return not any(self._has_nobody(arm) for route in applied.routes for _, arm, weight in route.arms if weight)

    def _has_nobody(self, arm: Arm | None) -> bool:
        return arm is not None and not self._state.targets.get(arm.application)

    async def _await_accepted(self, file: str, version: str) -> None:
        deadline = time.monotonic() + TAKE_SECONDS
        while getattr(await self._admin.accepted_versions(), file) != version:
            if time.monotonic() > deadline:
                raise ConfigNotAccepted(f"Envoy has not taken {file}.json{self._rejection()}")
            await asyncio.sleep(0.002)

    def _rejection(self) -> str:
        """Return why Envoy rejected a file, which it tells only in its log."""
        log = self._settings.agent.envoy_log
        if log is None or not log.exists():
            return ""
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").splitlines()
        said = [line for line in lines if "Filesystem config update" in line]
        return f": {said[-1][:500]}" if said else ""

    # --- what is ------------------------------------------------------------------------------------------------------

    async def _keep_reporting(self) -> None:
        while True:
            # Without Envoy there is nothing new to count; the report then grows old, which is what it should say.
            if await self._count():
                await self._report()
            await asyncio.sleep(POLL_SECONDS)

    async def _count(self) -> bool:
        """Read Envoy's counters, and return whether that worked.

        Only one reading is made at a time: an older one would look like a restart.
        """
        async with self._counting:
            try:
                tally = await self._admin.tally()
                self._active = tally.active
                self._counts.add(tally, now=time.time(), serving=cluster_names(self._state.applied))
            except (httpx.HTTPError, OSError):
                return False
        return True

    async def _report(self) -> None:
        report = ProxyReport(
            proxy=self._settings.agent.proxy,
            generation=self._acknowledged,
            reported_at=time.time(),
            counts=self._counts.totals,
            problem=self._problem,
            held=self._held,
            replicas={application: len(targets) for application, targets in self._state.targets.items()},
            active=self._active,
        )
        try:
            await self._bus.report(report)
        except Unavailable:
            with contextlib.suppress(httpx.HTTPError, OSError):
                await self._api.report(report)

    def _keep_state(self) -> None:
        """Write down what the agent starts with, where that is something new."""
        kept = msgspec.json.encode(self._state)
        if kept != self._kept:
            write_atomically(self._directory / STATE, kept)
            self._kept = kept

    def _read_state(self) -> AgentState:
        """Return the state; one that can't be read is to be learnt anew where Envoy has been given routes."""
        try:
            return msgspec.json.decode((self._directory / STATE).read_bytes(), type=AgentState)
        except (FileNotFoundError, msgspec.MsgspecError):
            if has_applications(self._directory):
                self._missing = {PLAN, REPLICAS}
            return AgentState()


class PlanEndpoint:
    """The API's way for plan and reports, while Redis is away.

    Every method may raise httpx.HTTPError, and OSError while its token can't be read.
    """

    def __init__(self, settings: TrafficAgentSettings) -> None:
        self._token_file = settings.agent.api_token_file
        self._http = plain_client(base_url=f"http://{api_address(settings)}/internal/traffic", timeout=2.0)

    async def plan(self) -> TrafficPlan:
        answer = await self._http.get("/plan", headers=self._headers())
        return decode_plan(answer.raise_for_status().content)

    async def report(self, report: ProxyReport) -> None:
        body = msgspec.json.encode(report)
        (await self._http.post("/report", content=body, headers=self._headers())).raise_for_status()

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}


async def serve(settings: TrafficAgentSettings) -> None:
    prepare(settings)
    redis = Redis.from_url(settings.redis.url.get_secret_value())
    bus = RedisTrafficBus(redis)
    cluster = RayServeClient(
        settings.ray.dashboard_url,
        settings.ray.auth_token.get_secret_value(),
        host=settings.ray.http_host,
        port=settings.ray.http_port,
    )
    admin = EnvoyAdmin(settings.agent.envoy_admin_url)
    await until_terminated(Agent(settings, bus, cluster, admin).run)
    if not await admin.is_live():
        # Envoy was stopped first: this proxy has shut down cleanly, and nobody need wait for it any more.
        with contextlib.suppress(Unavailable):
            await bus.remove_proxy(settings.agent.proxy)
    await admin.aclose()
    await cluster.aclose()
    await redis.aclose()


def main() -> None:
    run_service("agent", TrafficAgentSettings, serve)


if __name__ == "__main__":
    main()
