"""The traffic plan, published again: a Redis that has lost it gets it back, and a proxy that waits for it hears of it.

Redis keeps the newest generation, so doing it again changes nothing.
"""

import logging

from temporalio import activity

from activities.heartbeating import heartbeating
from hotswap.domain.errors import Unavailable
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
        plan = await self._plans.current()
        try:
            await self._bus.publish(plan)
        except Unavailable as error:
            logger.warning("redis is away; agents ask the API for the plan", extra={"error": error.message})
        return plan.generation
