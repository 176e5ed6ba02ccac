"""The traffic plan, its way to the proxies, and their reports on the way back."""

from collections.abc import AsyncIterator
from typing import Protocol

from hotswap.domain.proxies import RegisteredProxy
from hotswap.domain.traffic import ProxyReport, TrafficChange, TrafficPlan


class TrafficPlans(Protocol):
    """The plan in PostgreSQL: the truth, fenced."""

    async def apply(self, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        """Write one route under its fence, and return the whole plan with the generation that contains it.

        The epoch belongs to the run: a run that has none yet gets it in this transaction. The same (epoch, sequence)
        again changes nothing and returns the present plan. Raises StaleFence when a newer run has an epoch, or has
        written the route, and DeploymentMoved when the deployment has ended.
        """

    async def current(self) -> TrafficPlan: ...

    async def begin_lineage(self, *, after: int) -> TrafficPlan:
        """Return the plan in a lineage that is later than `after`, which is made where there is none yet."""

    async def proxies(self) -> list[RegisteredProxy]:
        """Return each proxy whose agent reported to the API while Redis was away, with its newest report."""


class TrafficBus(Protocol):
    """The plan on its way to the proxies, and their reports on the way back (Redis).

    Every method raises Unavailable while Redis is away.
    """

    async def publish(self, plan: TrafficPlan) -> None:
        """Publish the plan unless a newer one is already published."""

    def plans(self) -> AsyncIterator[TrafficPlan]:
        """Yield the published plan now, and then each newer one within milliseconds of its publication.

        Raises Unavailable when Redis goes away; then call it again.
        """

    async def report(self, report: ProxyReport) -> None:
        """Store a proxy's newest report, which renews its lease; the first one registers the proxy.

        Raises ProxyNameTaken while another incarnation holds the name.
        """

    async def proxies(self) -> list[RegisteredProxy]:
        """Return every registered proxy.

        A proxy stays registered until it shuts down cleanly or a person removes it.
        """

    async def remove_proxy(self, proxy: str, *, incarnation: str = "") -> bool:
        """Remove a proxy, with `incarnation` only if that holds the name, and return whether it was there."""
