"""How many replicas of an application answer, of those that all of the traffic needs.

Forward, a weight waits for them. Backward nothing waits: what can't be learnt in a moment is taken from the rows, and a
listing without any replica is taken for a Ray that doesn't know yet, since its replicas may well answer.
"""

import asyncio
import logging
from collections.abc import Mapping

from activities.acting import note
from hotswap.domain.application import ApplicationHealth, ApplicationState
from hotswap.domain.capacity import Readiness
from hotswap.domain.errors import ReplicasFailed
from hotswap.ports import DesiredApplications, ServeCluster

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 0.3
"""What a withdrawal may wait for Ray Serve before it goes by the rows."""
GATHER_SECONDS = 0.5
"""For more replicas that come with the first, so that weights don't change for each of them."""

logger = logging.getLogger(__name__)


class ReadyReplicas:
    def __init__(self, desired: DesiredApplications, cluster: ServeCluster) -> None:
        self._desired = desired
        self._cluster = cluster

    async def at_a_glance(self, application: str) -> Readiness | None:
        """Without waiting for anybody; None for an application that no row wants."""
        desired = await self._desired.one(application)
        if desired is None:
            return None
        ready = desired.replicas
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await self._cluster.applications()
            ready = min(ready, _ready(found.get(application)) or ready)
        except Exception as error:  # noqa: BLE001 - whatever Ray does, it doesn't keep traffic from being taken back
            logger.warning(
                "ray serve doesn't say what is ready", extra={"application": application, "error": str(error)}
            )
        return Readiness(ready, desired.replicas, desired.full)

    async def until_ready(self, needed: Mapping[str, int]) -> None:
        """Return when each application has so many replicas that answer."""
        while True:
            found = await self._cluster.applications()
            lacking = {name: number for name, number in needed.items() if _ready(found.get(name)) < number}
            if not lacking:
                return
            for name, state in found.items():
                if name in lacking and state.health is ApplicationHealth.FAILED:
                    raise ReplicasFailed(f"the replicas of {name} can't start: {state.message}")
            note("; ".join(waiting_for(name, number, found.get(name)) for name, number in lacking.items()))
            await asyncio.sleep(POLL_SECONDS)

    async def until_more(self, application: str, than: int) -> Readiness:
        """Return when it has more ready replicas than that, or all that there should be, or no row any more."""
        while True:
            readiness = await self._of(application)
            if readiness is None:
                return Readiness(0, 0, 0)
            if readiness.is_full:
                return readiness
            if readiness.ready > than:
                await asyncio.sleep(GATHER_SECONDS)
                return await self._of(application) or readiness
            await asyncio.sleep(POLL_SECONDS)

    async def _of(self, application: str) -> Readiness | None:
        desired = await self._desired.one(application)
        if desired is None:
            return None
        state = (await self._cluster.applications()).get(application)
        note(waiting_for(application, desired.full, state))
        return Readiness(min(_ready(state), desired.replicas), desired.replicas, desired.full)


def waiting_for(application: str, replicas: int, state: ApplicationState | None) -> str:
    """How far it is, with what Ray says of it."""
    if state is None:
        return f"{application} is not listed by Ray Serve yet"
    ready = f"{len(state.targets)} of {replicas} replicas of {application} are ready"
    return f"{ready}: {state.message}" if state.message else ready


def _ready(state: ApplicationState | None) -> int:
    return len(state.targets) if state is not None else 0
