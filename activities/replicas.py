"""Replicas: rows say which applications should exist, and Ray Serve is made to agree with all of them.

Each activity changes the rows, converges (`activities/convergence.py`), and waits for what should come of it. Traffic
goes before replicas: an application that a route names is never retired.
"""

import asyncio
import logging

from temporalio import activity

from activities.convergence import Convergence
from activities.heartbeating import heartbeat_note, heartbeating
from activities.readiness import ReadyReplicas, waiting_for
from hotswap.domain.application import ApplicationHealth, ApplicationSpec, Desired
from hotswap.domain.capacity import ReplicaReadiness
from hotswap.domain.errors import Conflict, ReplicasFailed, Unavailable, ValidationFailed
from hotswap.domain.reconciliation import misconfigured
from hotswap.messages import AwaitReplicas, ScaleReplicas
from hotswap.ports import DesiredApplications, ReplicaProbe, ServeCluster

POLL_SECONDS = 0.25

logger = logging.getLogger(__name__)


class ReplicaActivities:
    def __init__(self, desired: DesiredApplications, cluster: ServeCluster, probe: ReplicaProbe) -> None:
        self._desired = desired
        self._cluster = cluster
        self._probe = probe
        self._ready = ReadyReplicas(desired, cluster)
        self._serve = Convergence(desired, cluster)

    @activity.defn
    @heartbeating
    async def start_replicas(self, spec: ApplicationSpec) -> None:
        """Return when every replica runs. Its deadline is the workflow's: Serve itself waits for ever for a GPU.

        How many that are, the row says that its capacity plan has written.
        """
        await self._desired.add(Desired.at_rest(spec))
        wanted = await self._wanted(spec.name)
        try:
            await self._serve.converge()
        except ValidationFailed as refusal:
            await self._desired.set_aside(spec.name, refusal.message)
            raise ReplicasFailed(f"Ray Serve refused {spec.name}: {refusal.message}") from refusal
        while True:
            state = (await self._cluster.applications()).get(spec.name)
            if state is None:
                await self._serve.converge()
            elif state.health is ApplicationHealth.FAILED:
                raise ReplicasFailed(f"the replicas of {spec.name} can't start: {state.message}")
            elif state.health is ApplicationHealth.RUNNING and len(state.targets) >= wanted:
                return
            heartbeat_note(waiting_for(spec.name, wanted, state))
            await asyncio.sleep(POLL_SECONDS)

    @activity.defn
    @heartbeating
    async def warm_up(self, spec: ApplicationSpec) -> None:
        """Return when every replica has answered on the very port that the proxies will use."""
        wanted = await self._wanted(spec.name)
        state = (await self._cluster.applications()).get(spec.name)
        if state is None or len(state.targets) < wanted:
            raise Unavailable(f"{spec.name} has fewer ready replicas than {wanted} just now")
        await self._probe.warm_up(spec, state.targets)

    @activity.defn
    @heartbeating
    async def count_replicas(self, application: str) -> int:
        """Return how many replicas an application should have now. Raises Conflict for one that has no row any more."""
        return await self._wanted(application)

    @activity.defn
    @heartbeating
    async def scale_replicas(self, request: ScaleReplicas) -> None:
        """Write all these numbers at once, and return when what grows is ready, warmed up where that is asked for.

        What shrinks is not waited for: what grows in its place is ready only after it has gone.
        """
        await self._desired.scale(request.replicas, deployment_id=request.deployment_id)
        await self._serve.converge(at_once=True)
        if not request.wait:
            return
        await self._ready.until_ready(request.replicas)
        if request.warm_up is not None:
            await self.warm_up(request.warm_up)

    @activity.defn
    @heartbeating
    async def await_replicas(self, request: AwaitReplicas) -> ReplicaReadiness:
        """Return when more replicas are ready than were, or all of them."""
        return await self._ready.until_more(
            request.application, than=request.more_than, pause_seconds=request.pause_seconds
        )

    @activity.defn
    @heartbeating
    async def release_replicas(self, application: str) -> None:
        """Let an application scale by load again, if it is configured to; any other stays as it is."""
        desired = await self._desired.one(application)
        if desired is not None and desired.spec.resources.scales_by_load:
            await self._desired.scale({application: Desired.at_rest(desired.spec).replicas})
            await self._serve.converge()

    @activity.defn
    @heartbeating
    async def retire_replicas(self, application: str) -> None:
        """Return when the application is gone.

        Raises Conflict while any route names it: traffic goes first, always (invariant 4).
        """
        await self._desired.remove(application)
        await self._serve.converge()
        while application in await self._cluster.applications():
            heartbeat_note(f"{application} drains")
            await asyncio.sleep(POLL_SECONDS)

    @activity.defn
    @heartbeating
    async def repair_applications(self) -> list[str]:
        """Send the rows again where Ray Serve has lost one of them, or runs another; return what differed."""
        running = await self._cluster.applications()
        differing = misconfigured(await self._desired.all(), running)
        if differing:
            logger.warning("ray serve runs something else than it should", extra={"applications": differing})
            await self._serve.converge(anew=True)
        return list(differing)

    async def _wanted(self, application: str) -> int:
        desired = await self._desired.one(application)
        if desired is None:
            raise Conflict(f"{application} is not wanted any more")
        return desired.replicas
