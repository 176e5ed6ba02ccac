"""Traffic: publish a plan, and report a weight only when every proxy that counts has confirmed it.

The plan in PostgreSQL is the truth, and its fence lets no late writer bring an old weight back. Redis only carries it;
while Redis is away the proxies' agents ask the API, and their reports are found in PostgreSQL too. A proxy counts for
the environments that it serves, until it has been lost for long (`hotswap/domain/proxies.py`). Until then it holds the
step, and the heartbeat says which one it is.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta

from temporalio import activity

from activities.heartbeating import heartbeat_note, heartbeating
from activities.lineage import not_behind
from activities.readiness import ReadyReplicas
from hotswap.domain.capacity import ReplicaReadiness, taken_back
from hotswap.domain.errors import Unavailable
from hotswap.domain.proxies import LEASE_SECONDS, LOST_AFTER, RegisteredProxy, counted, newest, out_of_count
from hotswap.domain.traffic import Arm, Counts, ProxyReport, TrafficChange, TrafficPlan, route_key, total_counts
from hotswap.messages import SetWeight, VerifiedWeight, WithdrawCandidate, Withdrawn
from hotswap.ports import Deployments, TrafficBus, TrafficPlans

POLL_SECONDS = 0.01
REPUBLISH_SECONDS = 1.0
SETTLE_POLL_SECONDS = 0.1
GLANCE_SECONDS = 0.3
"""How long a rollback waits for the proxies' reports before it takes the weight away without them."""

logger = logging.getLogger(__name__)


class TrafficActivities:
    def __init__(
        self,
        plans: TrafficPlans,
        bus: TrafficBus,
        deployments: Deployments,
        ready: ReadyReplicas,
        *,
        settle_seconds: float = 0.0,
        lost_after: timedelta = LOST_AFTER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set up; `settle_seconds` is how long a candidate may take for a request."""
        self._settle_seconds = settle_seconds
        self._lost_after = lost_after
        self._plans = plans
        self._bus = bus
        self._deployments = deployments
        self._ready = ready
        self._clock = clock
        self._by_api: list[RegisteredProxy] = []

    @activity.defn
    @heartbeating
    async def set_weight(self, request: SetWeight) -> VerifiedWeight:
        """Go forward: publish once the replicas for it are ready; return when every proxy has confirmed the weight."""
        await self._ready.until_ready(request.needs)
        plan = await self._plans.apply(request.change, run_id=_run_id())
        verified = await self._verify(plan, request.change, share=request.share, progress=request.progress)
        return await self._settled(verified, request.change) if request.settles else verified

    @activity.defn
    @heartbeating
    async def make_active(self, request: SetWeight) -> VerifiedWeight:
        """Promote by relabel: the registry's pointer and the route change in one transaction."""
        await self._ready.until_ready(request.needs)
        plan = await self._deployments.make_active(request.change.deployment_id, request.change, run_id=_run_id())
        return await self._verify(plan, request.change, share=request.share, progress=request.progress)

    @activity.defn
    @heartbeating
    async def withdraw_candidate(self, request: WithdrawCandidate) -> Withdrawn:
        """Go back: publish first, then store it, and return when no proxy sends the candidate anything more.

        Requests that the stable's replicas can't hold are shed; with `hold` they stay with the candidate.
        """
        stable = request.change.stable
        readiness = None
        if stable is not None:
            readiness = await self._ready.at_a_glance(stable.application, await self._proxies_at_a_glance())
        change, transition = _withdrawal(request.change, readiness, hold=request.hold), request.why
        if request.promoted:
            plan = await self._deployments.make_inactive(change.deployment_id, change, run_id=_run_id())
        else:
            plan = await self._plans.apply(change, run_id=_run_id())
        await self._publish(plan)
        if transition is not None:
            await self._deployments.transition(
                transition.deployment_id,
                transition.status,
                message=transition.message,
                reason=transition.reason,
                actor=transition.actor,
                run_id=_run_id(),
            )
        verified = await self._verify(plan, change, share=change.candidate_weight, progress=None)
        return Withdrawn(**dict(verified), shed=change.shed, readiness=readiness)

    async def _verify(
        self, plan: TrafficPlan, change: TrafficChange, *, share: int, progress: int | None
    ) -> VerifiedWeight:
        reports, unconfirmed = await self._confirmed(plan, change)
        verified = VerifiedWeight(
            weight=share,
            verified_at=self._clock(),
            proxies=tuple(report.proxy for report in reports),
            **_counts(reports, change),
        )
        shed = f"; {change.shed / 100:g}% of all requests are shed until the replicas hold them" if change.shed else ""
        await self._deployments.record_weight(
            change.deployment_id,
            verified_weight=share,
            progress=progress,
            message=f"{share / 100:g}% verified at {', '.join(verified.proxies)}{shed}{_not_asked(unconfirmed)}",
            run_id=_run_id(),
            sequence=change.sequence,
        )
        return verified

    async def _settled(self, verified: VerifiedWeight, change: TrafficChange) -> VerifiedWeight:
        """Wait until no request of the weight before is in flight, and return the weight with the counts of then.

        A proxy has settled once it had no request in flight at one moment since the change, and all of them once a
        request's longest time is over: a busy proxy always has some. The counts are those of the proxies that have
        confirmed: a proxy that registered meanwhile never used the weight before.
        """
        applications = {arm.application for arm in _arms(change).values()}
        limit = activity.info().schedule_to_close_timeout
        longest = min(self._settle_seconds, limit.total_seconds() / 4 if limit is not None else self._settle_seconds)
        proxies = await self._proxies(from_api=False)
        before = {each.name: each.report.reported_at for each in proxies}
        waits = set(verified.proxies)
        while waits and self._clock() - verified.verified_at < longest:
            heartbeat_note(f"what is in flight at {', '.join(sorted(waits))} ends, before counts of this weight begin")
            await asyncio.sleep(SETTLE_POLL_SECONDS)
            proxies = await self._proxies(from_api=False)
            newer = [each.report for each in proxies if each.report.reported_at != before.get(each.name)]
            waits -= {each.proxy for each in newer if _is_idle(each, applications)}
        confirmed = [each.report for each in proxies if each.name in verified.proxies]
        return verified.model_copy(update={**_counts(confirmed, change), "verified_at": self._clock()})

    async def _confirmed(
        self, plan: TrafficPlan, change: TrafficChange
    ) -> tuple[list[ProxyReport], list[RegisteredProxy]]:
        """Return the reports of all proxies that count once each has confirmed this change, and the proxies that don't.

        A proxy confirms it with this plan or a newer one.
        """
        key = route_key(change.environment, change.model)
        published_at = 0.0
        while True:
            if again := self._clock() - published_at > REPUBLISH_SECONDS:
                await self._publish(plan)
                published_at = self._clock()
            proxies = [each for each in await self._proxies(from_api=again) if each.belongs_to(plan)]
            renewed = await not_behind(self._plans, plan, proxies)
            if renewed.lineage != plan.lineage:
                plan, published_at = renewed, 0.0
            counting = counted(proxies, self._lost_after, environment=change.environment)
            missing = [each for each in counting if each.report.confirmed < plan.number or key in each.report.held]
            if counting and not missing:
                return [each.report for each in counting], out_of_count(proxies, self._lost_after)
            heartbeat_note(_waits_for(plan, missing, key))
            await asyncio.sleep(POLL_SECONDS)

    async def _proxies_at_a_glance(self) -> list[RegisteredProxy]:
        """Return the proxies, as of before where the bus takes too long: nothing may hold up a rollback."""
        try:
            async with asyncio.timeout(GLANCE_SECONDS):
                return await self._proxies(from_api=False)
        except TimeoutError:
            return self._by_api

    async def _publish(self, plan: TrafficPlan) -> None:
        try:
            await self._bus.publish(plan)
        except Unavailable as error:
            logger.warning("redis is away; agents ask the API for the plan", extra={"error": error.message})

    async def _proxies(self, *, from_api: bool) -> list[RegisteredProxy]:
        """Return the registered proxies; `from_api` reads their reports to the API too, which is needed seldom."""
        if from_api:
            self._by_api = await self._plans.proxies()
        try:
            over_redis = await self._bus.proxies()
        except Unavailable as error:
            logger.warning("redis is away; reading the proxies' reports to the API", extra={"error": error.message})
            over_redis = []
        return newest(self._by_api, over_redis)


def _arms(change: TrafficChange) -> dict[str, Arm]:
    """Return the arms that there are, by their names in `VerifiedWeight`."""
    both = {"stable": change.stable, "candidate": change.candidate}
    return {name: arm for name, arm in both.items() if arm is not None}


def _counts(reports: list[ProxyReport], change: TrafficChange) -> dict[str, Counts]:
    return {name: total_counts(reports, arm.application) for name, arm in _arms(change).items()}


def _is_idle(report: ProxyReport, applications: Iterable[str]) -> bool:
    """Return whether a proxy has no request in flight for these; one that doesn't report it may have."""
    return report.active is not None and not any(map(report.active.get, applications))


def _withdrawal(change: TrafficChange, readiness: ReplicaReadiness | None, *, hold: bool) -> TrafficChange:
    if readiness is None:
        return change
    weight, shed = taken_back(change.candidate_weight, readiness.share, hold=hold)
    return replace(change, candidate_weight=weight, shed=shed)


def _run_id() -> str:
    run_id = activity.info().workflow_run_id
    assert run_id is not None
    return run_id


def _waits_for(plan: TrafficPlan, missing: list[RegisteredProxy], key: str) -> str:
    if not missing:
        return f"plan {plan.number} is published, and no proxy is registered to confirm it"
    proxies = []
    for each in missing:
        problem = each.report.held.get(key) or each.report.problem
        silent = f", lost for {each.silent_for:.0f} s" if each.silent_for > LEASE_SECONDS else ""
        proxies.append(f"{each.name} (at {each.report.confirmed}{silent}{': ' + problem if problem else ''})")
    return f"plan {plan.number} waits for {', '.join(proxies)}"


def _not_asked(proxies: list[RegisteredProxy]) -> str:
    """Return what is to be said of the proxies that don't count any more."""
    said = [f"{each.name} (lost for {each.silent_for / 60:.0f} min)" for each in proxies]
    return f"; not asked, since out of the count: {', '.join(said)}" if said else ""
