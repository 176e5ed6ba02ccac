"""Facts on which a promotion policy is decided; the decision is the workflow's."""

from temporalio import activity

from activities.heartbeating import heartbeating
from hotswap.domain.promotion import ActivePeriod
from hotswap.messages import FindActivePeriod
from hotswap.ports import ActivationHistory


class PromotionActivities:
    def __init__(self, activation_history: ActivationHistory) -> None:
        self._activation_history = activation_history

    @activity.defn
    @heartbeating
    async def find_tenure(self, wanted: FindActivePeriod) -> ActivePeriod:
        return await self._activation_history.active_period(wanted.model, wanted.environment)
