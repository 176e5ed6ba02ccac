"""Replicas: rows say which applications should exist, and `converge` makes Ray Serve agree with all of them.

Serve's PUT is the whole desired state and has no version check, so there is one writer at a time, by a lease that is
asked for right before the PUT and outlives its time-out. Lease and rows are read again after it: a writer that was
frozen with a PUT in hand, and wakes up when the lease is another's, writes anew what the rows say by then, and so
can't win.

A PUT makes Serve begin anew with every application that it is still building, also where nothing changes for it. So
what Serve was told already is not written again, and who can wait lets builds be finished first: else a dozen
deployments that start at once would keep each other from ever starting.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from temporalio import activity

from activities.acting import acting, note
from activities.readiness import ReadyReplicas, waiting_for
from hotswap.domain.application import ApplicationHealth, ApplicationSpec, ApplicationState, Desired
from hotswap.domain.capacity import Readiness
from hotswap.domain.errors import Conflict, ReplicasFailed, Unavailable, ValidationFailed
from hotswap.messages import AwaitReplicas, ScaleReplicas
from hotswap.ports import DesiredApplications, ReplicaProbe, ServeCluster, TrafficPlans

POLL_SECONDS = 0.25
LEASE_NEEDED_SECONDS = 12.0
"""A PUT may take 10 s until its client gives up; the lease must outlive it."""
BUILD_SECONDS = 10.0
"""How long others' builds are waited for at most."""

logger = logging.getLogger(__name__)


class ReplicaActivities:
    def __init__(
        self, desired: DesiredApplications, cluster: ServeCluster, probe: ReplicaProbe, plans: TrafficPlans
    ) -> None:
        self._desired = desired
        self._plans = plans
        self._cluster = cluster
        self._probe = probe
        self._ready = ReadyReplicas(desired, cluster)
        self._writing: set[asyncio.Future[None]] = set()

    @activity.defn
    @acting
    async def start_replicas(self, spec: ApplicationSpec) -> None:
        """Return when every replica runs. Its deadline is the workflow's: Serve itself waits for ever for a GPU.

        How many that are, the row says that its capacity plan has written.
        """
        await self._desired.add(Desired.at_rest(spec))
        wanted = await self._wanted(spec.name)
        try:
            await self._converge()
        except ValidationFailed as refusal:
            await self._desired.set_aside(spec.name, refusal.message)
            raise ReplicasFailed(f"Ray Serve refused {spec.name}: {refusal.message}") from refusal
        while True:
            state = (await self._cluster.applications()).get(spec.name)
            if state is None:
                await self._converge()
            elif state.health is ApplicationHealth.FAILED:
                raise ReplicasFailed(f"the replicas of {spec.name} can't start: {state.message}")
            elif state.health is ApplicationHealth.RUNNING and len(state.targets) >= wanted:
                return
            note(waiting_for(spec.name, wanted, state))
            await asyncio.sleep(POLL_SECONDS)

    @activity.defn
    @acting
    async def warm_up(self, spec: ApplicationSpec) -> None:
        """Return when every replica has answered on the very port that the proxies will use."""
        wanted = await self._wanted(spec.name)
        state = (await self._cluster.applications()).get(spec.name)
        if state is None or len(state.targets) < wanted:
            raise Unavailable(f"{spec.name} has fewer ready replicas than {wanted} just now")
        await self._probe.warm_up(spec, state.targets)

    @activity.defn
    @acting
    async def count_replicas(self, application: str) -> int:
        """Those that it should have now. Raises Conflict for one that nobody wants any more."""
        return await self._wanted(application)

    @activity.defn
    @acting
    async def scale_replicas(self, request: ScaleReplicas) -> None:
        """Write all these numbers at once, and return when what grows is ready, warmed up where that is asked for.

        What shrinks is not waited for: what grows in its place is ready only after it has gone.
        """
        await self._desired.scale(request.replicas)
        await self._converge(at_once=True)
        if not request.wait:
            return
        await self._ready.until_ready(request.replicas)
        if request.warm_up is not None:
            await self.warm_up(request.warm_up)

    @activity.defn
    @acting
    async def await_replicas(self, request: AwaitReplicas) -> Readiness:
        """Return when more replicas are ready than were, or all of them."""
        return await self._ready.until_more(request.application, than=request.more_than)

    @activity.defn
    @acting
    async def release_replicas(self, application: str) -> None:
        """Let an application that scales by load do so again."""
        desired = await self._desired.one(application)
        if desired is not None:
            await self._desired.scale({application: Desired.at_rest(desired.spec).replicas})
            await self._converge()

    @activity.defn
    @acting
    async def retire_replicas(self, application: str) -> None:
        """Return when the application is gone.

        Raises Conflict while any route names it: traffic goes first, always (invariant 4).
        """
        if application in (await self._plans.current()).applications:
            raise Conflict(f"{application} still takes part in a route; its replicas stay")
        await self._desired.remove(application)
        await self._converge()
        while application in await self._cluster.applications():
            note(f"{application} drains")
            await asyncio.sleep(POLL_SECONDS)

    @activity.defn
    @acting
    async def repair_applications(self) -> list[str]:
        """Write the rows anew where Ray Serve has lost one of them, or runs another; answers what differed."""
        found = await self._cluster.applications()
        running = {name for name, state in found.items() if state.health is not ApplicationHealth.STOPPING}
        desired = {each.spec.name: each for each in await self._desired.all() if each.replicas > 0}
        differing = running ^ desired.keys()
        differing |= {name for name in running & desired.keys() if _was_told_otherwise(found[name], desired[name])}
        if differing:
            logger.warning("ray serve runs something else than it should", extra={"applications": sorted(differing)})
            await self._converge()
        return sorted(differing)

    async def _wanted(self, application: str) -> int:
        desired = await self._desired.one(application)
        if desired is None:
            raise Conflict(f"{application} is not wanted any more")
        return desired.replicas

    async def _converge(self, *, at_once: bool = False) -> None:
        """Return when Ray Serve was told what the rows say; what is not wanted `at_once` lets builds be finished.

        A cancel ends the waiting and not the work: who was frozen with a PUT in hand is cancelled as soon as he wakes,
        and has to repair what he then wrote.
        """
        work = asyncio.ensure_future(self._write_until_current(patience=0.0 if at_once else BUILD_SECONDS))
        self._writing.add(work)
        work.add_done_callback(self._written)
        await asyncio.shield(work)

    def _written(self, work: "asyncio.Future[None]") -> None:
        self._writing.discard(work)
        if not work.cancelled() and (problem := work.exception()):
            logger.warning("ray serve configuration was not written", extra={"error": str(problem)})

    async def _write_until_current(self, *, patience: float) -> None:
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + patience
        while (came_to := await self._write(interrupts=loop.time() >= patient_until)) is not _Written.YES:
            if came_to is _Written.WHILE_BUILDING:
                await asyncio.sleep(POLL_SECONDS)
            else:
                logger.warning("ray serve configuration was outdated while it was written; it is written again")

    async def _write(self, *, interrupts: bool) -> "_Written":
        """Write, unless Serve was told the same already, or builds something and this may not interrupt it."""
        async with self._desired.writer_lease(activity.info().task_queue) as lease:
            wanted = await self._desired.all()
            found = await self._cluster.applications()
            if _was_told(found, wanted):
                return _Written.YES
            if not interrupts and any(state.is_building for state in found.values()):
                return _Written.WHILE_BUILDING
            if await lease.remaining() < LEASE_NEEDED_SECONDS:
                return _Written.OUTDATED
            await self._cluster.put(wanted)
            logger.info(
                "ray serve configuration written",
                extra={"applications": {each.spec.name: each.replicas for each in wanted}},
            )
            if await lease.remaining() > 0 and await self._desired.all() == wanted:
                return _Written.YES
            return _Written.OUTDATED


class _Written(Enum):
    """`OUTDATED`: somebody else may have written meanwhile, or the rows say something else by now."""

    YES = auto()
    OUTDATED = auto()
    WHILE_BUILDING = auto()


def _was_told(found: Mapping[str, ApplicationState], wanted: Sequence[Desired]) -> bool:
    """Whether Serve's configuration says just this already."""
    running = {name: state.told for name, state in found.items() if state.health is not ApplicationHealth.STOPPING}
    return running == {each.spec.name: each.replicas for each in wanted if each.replicas > 0}


def _was_told_otherwise(state: ApplicationState, desired: Desired) -> bool:
    """Of what scales by load, how many there are is Serve's own affair."""
    return state.wanted not in (None, desired.replicas) and not desired.spec.resources.scales_by_load
