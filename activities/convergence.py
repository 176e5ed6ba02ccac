"""`converge`: Ray Serve is told what the rows say, by one writer at a time, and not while it builds what it was told.

Serve's PUT is the whole desired state and has no version check, so there is one writer at a time, by a lease that is
asked for right before the PUT and outlives its time-out. The lease is read again after it: a writer that was frozen
with a PUT in hand, and wakes up when the lease is another's, looks at what Serve was told, writes anew what the rows
say by then, and so can't win.

A PUT also calls off every build that Serve has under way, of any application, and begins it anew in a new process.
Deployments that start one after the other would keep each other from ever being built. So one PUT serves all whose
rows were there by then: nobody writes what Serve was told already, and who only starts or retires something waits for
the builds, for a time. What serves now and needs more replicas does not wait: that costs the others a build.
"""

import asyncio
import logging
import time

from temporalio import activity

from activities.heartbeating import heartbeat_note
from hotswap.domain.application import ApplicationHealth, ApplicationState, Desired
from hotswap.ports import DesiredApplications, ServeCluster

POLL_SECONDS = 0.25
LEASE_NEEDED_SECONDS = 12.0
"""A PUT may take 10 s until its client gives up; the lease must outlive it."""

PATIENCE_SECONDS = 30.0
"""The time for builds. One takes two seconds of a core: a longer one hangs, and must not hold up all others."""

GLANCE_SECONDS = 0.3
"""The time in which Serve must say that it knows already, for callers that can't wait; they then write."""

logger = logging.getLogger(__name__)


class Convergence:
    def __init__(self, desired: DesiredApplications, cluster: ServeCluster) -> None:
        self._desired = desired
        self._cluster = cluster
        self._turn = asyncio.Lock()
        self._puts = 0
        self._working: set[asyncio.Future[None]] = set()

    async def converge(self, *, at_once: bool = False, anew: bool = False) -> None:
        """Return when Ray Serve was sent the rows as they were when this was called, or newer; `anew` sends them again.

        A cancel ends the waiting, not the work. A worker that was frozen during a PUT is cancelled as soon as it wakes,
        and must still repair what it then wrote.
        """
        work = asyncio.ensure_future(self._until_told(at_once=at_once, anew=anew))
        self._working.add(work)
        work.add_done_callback(self._ended)
        await asyncio.shield(work)

    def _ended(self, work: "asyncio.Future[None]") -> None:
        self._working.discard(work)
        if not work.cancelled() and (problem := work.exception()):
            logger.warning("ray serve configuration was not written", extra={"error": repr(problem)})

    async def _until_told(self, *, at_once: bool, anew: bool) -> None:
        patient_until = time.monotonic() + (0.0 if at_once else PATIENCE_SECONDS)
        while True:
            puts = self._puts
            wanted = await self._desired.all()
            found = await (self._glance() if at_once else self._cluster.applications())
            if not anew and found is not None and was_told(found, wanted):
                return
            building = sorted(name for name, state in (found or {}).items() if state.is_building)
            if building and time.monotonic() < patient_until:
                heartbeat_note(f"waits until Ray Serve has built {', '.join(building)}")
                await asyncio.sleep(POLL_SECONDS)
                continue
            async with self._turn:
                # Another writer, while this one waited for its turn, may have written this one's rows too.
                if self._puts == puts and await self._write():
                    return

    async def _glance(self) -> dict[str, ApplicationState] | None:
        try:
            async with asyncio.timeout(GLANCE_SECONDS):
                return await self._cluster.applications()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            logger.warning("ray serve doesn't say what it was told", extra={"error": repr(error)})
            return None

    async def _write(self) -> bool:
        """Send the rows, and return whether the lease was held throughout, so that no other writer can have written.

        Whoever changes the rows meanwhile converges after that.
        """
        async with self._desired.writer_lease(activity.info().task_queue) as lease:
            wanted = await self._desired.all()
            if await lease.remaining() < LEASE_NEEDED_SECONDS:
                return False
            self._puts += 1
            await self._cluster.put(wanted)
            logger.info(
                "ray serve configuration written",
                extra={"applications": {each.spec.name: each.replicas for each in wanted}},
            )
            if await lease.remaining() > 0:
                return True
        logger.warning("ray serve configuration was written under a lost lease; it is looked at again")
        return False


def was_told(found: dict[str, ApplicationState], wanted: list[Desired]) -> bool:
    """Return whether the last configuration that Serve accepted is the one that these rows make."""
    told = {name: state.told for name, state in found.items() if state.health is not ApplicationHealth.STOPPING}
    return told == {each.spec.name: each.replicas for each in wanted if each.replicas > 0}
