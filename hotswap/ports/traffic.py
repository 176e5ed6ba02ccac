"""The traffic plan, and its way to the proxies and back."""

from collections.abc import AsyncIterator
from typing import Protocol

from hotswap.domain.traffic import ProxyReport, TrafficChange, TrafficPlan


class TrafficPlans(Protocol):
    """The plan in PostgreSQL: the truth, fenced."""

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        """Write one route under its fence and answer the whole plan, with the generation that contains it.

        The epoch is the run's: given in this transaction when the run has none yet. The same (epoch, sequence) again
        changes nothing and answers the present plan. Raises StaleFence when a newer writer has been here.
        """

    async def current(self) -> TrafficPlan: ...

    async def proxy_reports(self) -> list[ProxyReport]:
        """What agents reported through the API while Redis was away, the newest of each proxy."""


class TrafficBus(Protocol):
    """The plan on its way to the proxies, and their reports on the way back (Redis).

    Every method raises Unavailable while Redis is away.
    """

    async def publish(self, plan: TrafficPlan) -> None:
        """Make the plan the published one unless a newer generation is."""

    async def published(self) -> TrafficPlan | None: ...

    def plans(self) -> AsyncIterator[TrafficPlan]:
        """The published plan now, and then each newer one, within milliseconds of its publication.

        Raises Unavailable when Redis goes away; ask again then.
        """

    async def report(self, report: ProxyReport) -> None:
        """Store a proxy's newest report; the first one registers the proxy."""

    async def reports(self) -> list[ProxyReport]:
        """The newest report of every registered proxy: until it shut down cleanly or a person removed it."""

    async def remove_proxy(self, proxy: str) -> None: ...
