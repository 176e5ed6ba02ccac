"""The number of an application's replicas that answer, of those that all of the traffic needs.

Forward, a weight waits for them, and Ray Serve says how many there are. Backward nothing waits and nothing slow is
asked: what the proxies last reported counts, else the rows. If no proxy knows a replica of an application, it counts as
not known yet, since its replicas may well answer.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

from activities.heartbeating import heartbeat_note
from hotswap.domain.application import ApplicationHealth, ApplicationState
from hotswap.domain.capacity import ReplicaReadiness
from hotswap.domain.errors import ReplicasFailed
from hotswap.domain.proxies import LEASE_SECONDS, RegisteredProxy
from hotswap.ports import DesiredApplications, ServeCluster

POLL_SECONDS = 0.25
GATHER_SECONDS = 0.5
"""The wait for more replicas that come with the first, so that weights don't change for each of them."""


class ReadyReplicas:
    def __init__(self, desired: DesiredApplications, cluster: ServeCluster) -> None:
        self._desired = desired
        self._cluster = cluster

    async def at_a_glance(self, application: str, proxies: Sequence[RegisteredProxy]) -> ReplicaReadiness | None:
        """Return the readiness without asking Ray Serve; None for an application without a row."""
        desired = await self._desired.one(application)
        if desired is None:
            return None
        routed = _routed(application, proxies)
        ready = desired.replicas if routed is None else min(routed, desired.replicas)
        return ReplicaReadiness(ready, desired.replicas, desired.full)

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
            heartbeat_note("; ".join(waiting_for(name, number, found.get(name)) for name, number in lacking.items()))
            await asyncio.sleep(POLL_SECONDS)

    async def until_more(self, application: str, than: int, *, pause_seconds: float = 0.0) -> ReplicaReadiness:
        """Return when it has more ready replicas than that, or all that there should be, or no row any more.

        That there are more counts only after a pause.
        """
        began = time.monotonic()
        while True:
            readiness = await self._of(application)
            if readiness is None:
                return ReplicaReadiness(0, 0, 0)
            if readiness.is_full:
                return readiness
            if readiness.ready > than and time.monotonic() - began >= pause_seconds:
                await asyncio.sleep(GATHER_SECONDS)
                return await self._of(application) or readiness
            await asyncio.sleep(POLL_SECONDS)

    async def _of(self, application: str) -> ReplicaReadiness | None:
        desired = await self._desired.one(application)
        if desired is None:
            return None
        state = (await self._cluster.applications()).get(application)
        heartbeat_note(waiting_for(application, desired.full, state))
        return ReplicaReadiness(min(_ready(state), desired.replicas), desired.replicas, desired.full)


def waiting_for(application: str, replicas: int, state: ApplicationState | None) -> str:
    """Return how far an application is, with Ray's own message about it."""
    if state is None:
        return f"{application} is not listed by Ray Serve yet"
    ready = f"{len(state.targets)} of {replicas} replicas of {application} are ready"
    return f"{ready}: {state.message}" if state.message else ready


def _ready(state: ApplicationState | None) -> int:
    return len(state.targets) if state is not None else 0


def _routed(application: str, proxies: Sequence[RegisteredProxy]) -> int | None:
    """Return how many replicas the proxy knows that reported last; None where no proxy has reported lately."""
    live = [each for each in proxies if each.silent_for <= LEASE_SECONDS]
    latest = min(live, key=lambda each: each.silent_for, default=None)
    return latest.report.replicas.get(application) if latest is not None else None
