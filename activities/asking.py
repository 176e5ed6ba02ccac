"""Sends requests that clients have sent before to an application's replicas again, past the proxies."""

import asyncio
import time

from activities.heartbeating import heartbeat_note
from hotswap.domain.backtest import RecordedRequest, Reply
from hotswap.domain.errors import Unavailable
from hotswap.ports import ReplicaAsker, ServeCluster

POLL_SECONDS = 0.25


class ApplicationReplicas:
    """The replicas of one application, asked in turn."""

    def __init__(self, cluster: ServeCluster, asker: ReplicaAsker, application: str, model: str) -> None:
        self._cluster = cluster
        self._asker = asker
        self._application = application
        self._model = model
        self._targets: tuple[str, ...] = ()
        self._turn = 0

    async def ask(self, request: RecordedRequest, *, patience: float) -> Reply:
        """Return the reply of a replica that is there now. Raises Unavailable after `patience` seconds without one."""
        until = time.monotonic() + patience
        while True:
            try:
                return await self._asker.ask(self._application, self._model, await self._next(), request)
            except Unavailable as error:
                self._targets = ()
                if time.monotonic() >= until:
                    raise
                heartbeat_note(f"waits for a replica: {error.message}")
                await asyncio.sleep(POLL_SECONDS)

    async def _next(self) -> str:
        if not self._targets:
            state = (await self._cluster.applications()).get(self._application)
            self._targets = state.targets if state is not None else ()
        if not self._targets:
            raise Unavailable(f"{self._application} has no ready replica just now")
        self._turn += 1
        return self._targets[self._turn % len(self._targets)]
