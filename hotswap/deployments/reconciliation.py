"""The reconciler: it reads what should be and what is, says what differs, and has it repaired if it is asked to.

The servers can't be read at one moment. So it looks twice, and a difference counts only if both looks have it. A server
that doesn't answer costs its own part of the comparison and no more. The repair is the workflow `Reconcile`, which the
schedule runs as well: whoever asks, the same steps run, and Temporal keeps them away from every open deployment.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import asdict, dataclass
from typing import TypeVar

from hotswap.deployments.workflows import OpenWorkflows
from hotswap.domain.errors import Unavailable
from hotswap.domain.findings import ReconcilerFinding, confirmed
from hotswap.domain.proxies import newest
from hotswap.domain.reconciliation import ActualState, RecordedState, compare
from hotswap.ports import ReconciliationRecords, ServeCluster, TrafficBus, TrafficPlans

LOOK_AGAIN_SECONDS = 2.0

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The findings, and the workflows that a repair started; `started` is None if the repair still runs."""

    findings: tuple[ReconcilerFinding, ...]
    started: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares and repairs. `look_again_seconds` is the time between the two looks."""

    records: ReconciliationRecords
    workflows: OpenWorkflows
    cluster: ServeCluster
    plans: TrafficPlans
    bus: TrafficBus
    look_again_seconds: float = LOOK_AGAIN_SECONDS

    async def find(self) -> Reconciliation:
        """Return what differs, and change nothing. Raises Unavailable if PostgreSQL doesn't answer."""
        first = await self._look()
        if not first:
            return Reconciliation(())
        await asyncio.sleep(self.look_again_seconds)
        return Reconciliation(confirmed(first, await self._look()))

    async def repair(self, *, by: str, reason: str | None) -> Reconciliation:
        """Return what differs, and have repaired what can be. Raises Unavailable."""
        found = await self.find()
        if not any(each.repair for each in found.findings):
            return found
        await self.records.note_repair(by=by, reason=reason, findings=[asdict(each) for each in found.findings])
        started = await self.workflows.reconcile()
        return Reconciliation(found.findings, None if started is None else tuple(started))

    async def _look(self) -> tuple[ReconcilerFinding, ...]:
        recorded = await self.records.recorded()
        return compare(recorded, await self._actual(recorded))

    async def _actual(self, recorded: RecordedState) -> ActualState:
        unread: dict[str, str] = {}
        workflows, applications, proxies = await asyncio.gather(
            _read("Temporal", self.workflows.open_workflows(recorded.expected_workflows), unread),
            _read("Ray Serve", self.cluster.applications(), unread),
            _read("Redis", self.bus.proxies(), unread),
        )
        # While Redis is away, agents report to the API.
        known = newest(proxies or (), await self.plans.proxies())
        ours = tuple(each for each in known if each.belongs_to(recorded.plan))
        return ActualState(workflows, applications, ours, unread)


async def _read(server: str, reading: Awaitable[Read], unread: dict[str, str]) -> Read | None:
    try:
        return await reading
    except Unavailable as error:
        unread[server] = error.message
        return None
