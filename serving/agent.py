"""The traffic agent beside one Envoy: `python -m serving.agent`.

Plans and replicas' addresses go into Envoy's files, make before break: first all clusters, old and new, then the
routes, and an old cluster only after it has drained. A plan is acknowledged when Envoy itself repeats the versions of
both files, never earlier; a route whose candidate has no replica to answer is held as it was, and said to be. What the
agent knows is kept in files, so Envoy and the agent may restart while everything else is dead, and traffic goes on.

A proxy that was away for longer than its lease takes no request until it has the newest plan (`public_listeners.py`).
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
from hotswap.domain.traffic import Arm, PlanNumber, ProxyReport, Route, TrafficPlan, Withdrawal
from hotswap.domain.vocabulary import Environment
from hotswap.domain.withdrawal import still_held, withdraw, without
from hotswap.ports import ServeCluster, TrafficBus
from hotswap.process.lifetime import run_service, until_terminated
from hotswap.security.oidc import IssuerKeys
from hotswap.settings import TrafficAgentSettings
from hotswap.telemetry.logs import mark_ready
from hotswap.traffic.bus import RedisTrafficBus
from serving.agent_state import STATE, AgentState, StateFile, only_agent_of
from serving.counting import GrowingCounts
from serving.draining import Draining
from serving.envoy import prepare
from serving.envoy.acceptance import ConfigNotAccepted, await_accepted
from serving.envoy.admin import EnvoyAdmin
from serving.envoy.clusters import clusters
from serving.envoy.fallback import Fallback, composite_cluster, fallbacks
from serving.envoy.files import api_address, current_jwt_filter, has_applications, write_resources
from serving.envoy.gateway import CDS, ECDS, RDS
from serving.envoy.pinned_clusters import application_of, cluster_names
from serving.envoy.routes import route_configuration
from serving.plan_endpoint import PlanEndpoint
from serving.public_listeners import NotOpenYet, PublicListeners
from serving.ray.client import RayServeClient
from serving.registration import ProxyRegistration
from serving.withdrawal_endpoint import WithdrawalEndpoint
from serving.withdrawal_endpoint import serve as serve_withdrawals

POLL_SECONDS = 0.5
LOOK_SECONDS = 1.0
"""Between two looks at Ray Serve: each costs its controller a look at every replica."""
REPEAT_SECONDS = 2.0
"""After so long without a change Envoy is asked whether it still has what it was given."""
PLAN, REPLICAS = "the plan", "the replicas"
NOTHING = PlanNumber(0, -1)
WITHDRAWAL_SECONDS = 20.0
DRAIN_SECONDS = 6.0

logger = logging.getLogger(__name__)


class StateLost(Exception):
    """The agent's state can't be read, so it may know less than what Envoy has been given."""


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
        self._file = StateFile(self._directory)
        known = self._file.read()
        self._state = known or AgentState()
        self._missing = {PLAN, REPLICAS} if known is None and has_applications(self._directory) else set[str]()
        """The parts of a lost state that have not been learnt anew. Until then Envoy keeps what it has."""
        self._listeners = PublicListeners(settings)
        self._registration = ProxyRegistration(settings, bus, self._api, self._listeners)
        self._withdrawal_endpoint = WithdrawalEndpoint(settings.agent.proxy, self._withdraw)
        self._active: dict[str, int] | None = None
        self._counts = GrowingCounts(self._directory / "counts.json")
        self._counting = asyncio.Lock()
        self._acknowledged = NOTHING
        self._problem: str | None = None
        self._keys_problem: str | None = None
        self._changed = asyncio.Event()
        self._tried = asyncio.Condition()
        """Told of after each attempt to give Envoy the plan."""
        self._held: dict[str, str] = {}
        # A request that hangs at the candidate must still find its way to the stable when it is given up.
        drain = max(DRAIN_SECONDS, settings.gateway.candidate_timeout.total_seconds() + 1)
        self._own_clusters = Draining[str](drain)
        self._fallbacks = Draining[Fallback](drain)

    async def run(self) -> None:
        """Run until cancelled. The proxy stays registered: its Envoy may well continue to route without this agent."""
        self._changed.set()
        async with create_task_group() as group:
            for work in (
                self._follow_plans,
                self._ask_for_first_plan,
                self._follow_replicas,
                self._keep_applied,
                self._keep_reporting,
            ):
                group.start_soon(work)
            group.start_soon(serve_withdrawals, self._withdrawal_endpoint, self._directory)
            if self._issuer is not None:
                group.start_soon(self._issuer.keep, self._changed.set)

    # --- what should be -----------------------------------------------------------------------------------------------

    async def _follow_plans(self) -> None:
        while True:
            try:
                async for plan in self._bus.plans():
                    self._learn_plan(plan)
            except (Unavailable, msgspec.MsgspecError):
                with contextlib.suppress(httpx.HTTPError, msgspec.MsgspecError, OSError, Unavailable):
                    self._learn_plan(await self._api.plan())
            await asyncio.sleep(POLL_SECONDS)

    def _learn_plan(self, plan: TrafficPlan) -> None:
        """Take the plan in where it is newer. Raises Unavailable for a plan of another installation."""
        known, listeners = self._state.plan, self._listeners
        if not plan.belongs_beside(known) and PLAN not in self._missing:
            listeners.foreign_plan = (
                f"it serves installation {known.installation}, and was given a plan of {plan.installation}: check "
                f"HOTSWAP_REDIS__URL and HOTSWAP_GATEWAY__API_HOST, or remove {STATE} in {self._directory} and restart "
                "its agent to let it serve the other one"
            )
            raise Unavailable(listeners.foreign_plan)
        names_installation = plan.number == known.number and plan.installation != known.installation
        is_news = plan.number > known.number or names_installation or PLAN in self._missing
        if is_news:
            self._missing.discard(PLAN)
            self._state.plan = plan
        if is_news or not listeners.has_newest_plan:
            self._changed.set()
        listeners.has_newest_plan, listeners.foreign_plan = True, None

    async def _ask_for_first_plan(self) -> None:
        """Ask the API too while the proxy is closed: Redis may have no plan, and says so by silence."""
        while not (self._listeners.has_newest_plan or self._listeners.is_open):
            with contextlib.suppress(httpx.HTTPError, msgspec.MsgspecError, OSError, Unavailable):
                self._learn_plan(await self._api.plan())
            await asyncio.sleep(POLL_SECONDS)

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
                self._acknowledged, self._problem = plan.number, self._listeners.objection
                mark_ready()
            except (httpx.HTTPError, ConfigNotAccepted, NotOpenYet, StateLost, OSError, ValueError) as error:
                self._problem = f"plan {plan.number} is not applied: {error}"
            async with self._tried:
                self._tried.notify_all()
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
        withdrawals = self._state.withdrawals = still_held(self._state.withdrawals, plan)
        plan = without(plan.within(self._settings.agent.environments), withdrawals)
        if any(self._has_nobody(route.candidate) for route in plan.routes):
            # The plan was quicker than the last look at Ray Serve.
            await self._learn_replicas()
        applied, held = self._with_held_routes(plan)
        cds = write_resources(self._directory / CDS, self._clusters(applied))
        await self._await_accepted("cds", cds)
        routes = route_configuration(applied, self._settings.oidc, is_ready=self._has_answers(applied))
        rds = write_resources(self._directory / RDS, [routes])
        keys = self._write_keys()
        self._listeners.open()
        await self._await_accepted("rds", rds)
        if keys is not None:
            await self._await_accepted("ecds", keys)
        self._state.applied = applied
        self._file.keep(self._state)
        return held | {each.key: each.message for each in withdrawals}

    async def _withdraw(self, environment: Environment, model: str, by: str, reason: str) -> Withdrawal:
        """Take a candidate out at this proxy, and return when Envoy has done so.

        Raises ModelNotFound, Conflict where no candidate has traffic, and Unavailable where Envoy doesn't take it.
        """
        if PLAN in self._missing:
            raise Unavailable(f"this proxy's agent has lost its state ({STATE}) and knows no routes; stop this Envoy")
        plan = without(self._state.plan.within(self._settings.agent.environments), self._state.withdrawals)
        taken_out = withdraw(plan, environment, model, by=by, reason=reason, at=time.time())
        self._state.withdrawals = (*self._state.withdrawals, taken_out)
        self._file.keep(self._state)
        self._changed.set()
        try:
            async with asyncio.timeout(WITHDRAWAL_SECONDS), self._tried:
                await self._tried.wait_for(lambda: self._held.get(taken_out.key) == taken_out.message)
        except TimeoutError:
            raise Unavailable(f"Envoy has not taken the candidate out yet: {self._problem or 'it is slow'}") from None
        return taken_out

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
        return replace(plan, routes=tuple(routes)), held

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
        await await_accepted(self._admin, file, version, log=self._settings.agent.envoy_log)

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
            generation=self._acknowledged.generation,
            reported_at=time.time(),
            counts=self._counts.totals,
            problem=self._problem,
            held=self._held,
            replicas={application: len(targets) for application, targets in self._state.targets.items()},
            active=self._active,
            lineage=self._acknowledged.lineage,
            incarnation=self._registration.incarnation,
            installation=self._state.plan.installation,
            environments=self._settings.agent.environments,
            withdrawals=self._state.withdrawals,
        )
        was_registered = self._listeners.is_registered
        await self._registration.renew(report)
        if self._listeners.is_registered != was_registered:
            self._changed.set()

    async def sign_off(self) -> None:
        """Say that this proxy has shut down, so that nobody waits for it."""
        await self._registration.sign_off()

    async def aclose(self) -> None:
        await self._api.aclose()


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
    agent = Agent(settings, bus, cluster, admin)
    with only_agent_of(settings.agent.envoy_dir):
        await until_terminated(agent.run)
    if not await admin.is_live():
        # Envoy was stopped first: this proxy has shut down cleanly, and nobody need wait for it any more.
        await agent.sign_off()
    await agent.aclose()
    await admin.aclose()
    await cluster.aclose()
    await redis.aclose()


def main() -> None:
    run_service("agent", TrafficAgentSettings, serve)


if __name__ == "__main__":
    main()
