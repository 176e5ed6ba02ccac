"""The traffic plan and the proxies: the plan is published again, and candidates that people took out are found.

A Redis that has lost the plan gets it back, and a proxy that waits for it hears of it. Redis keeps the newest plan, so
doing it again changes nothing.
"""

import logging

from temporalio import activity

from activities.heartbeating import heartbeating
from activities.lineage import not_behind
from hotswap.domain.errors import Unavailable
from hotswap.domain.proxies import RegisteredProxy, newest
from hotswap.messages import FoundWithdrawals
from hotswap.ports import TrafficBus, TrafficPlans

logger = logging.getLogger(__name__)


class ReconciliationActivities:
    def __init__(self, plans: TrafficPlans, bus: TrafficBus) -> None:
        self._plans = plans
        self._bus = bus

    @activity.defn
    @heartbeating
    async def publish_plan(self) -> int:
        """Publish the newest plan, and return its generation. While Redis is away, agents ask the API for the plan."""
        plan = await not_behind(self._plans, await self._plans.current(), await self._proxies())
        try:
            await self._bus.publish(plan)
        except Unavailable as error:
            logger.warning("redis is away; agents ask the API for the plan", extra={"error": error.message})
        return plan.generation

    @activity.defn
    @heartbeating
    async def find_withdrawals(self) -> FoundWithdrawals:
        """Return the candidates that people took out at proxies, each once."""
        plan = await self._plans.current()
        found = {
            (each.key, each.fence): each
            for proxy in await self._proxies()
            if proxy.belongs_to(plan)
            for each in proxy.report.withdrawals
        }
        return FoundWithdrawals(withdrawals=tuple(found.values()))

    async def _proxies(self) -> list[RegisteredProxy]:
        try:
            over_redis = await self._bus.proxies()
        except Unavailable:
            over_redis = []
        return newest(await self._plans.proxies(), over_redis)
