"""What a promotion policy asks of the world: facts only, since deciding on them is the workflow's."""

from temporalio import activity

from activities.acting import acting
from hotswap.domain.promotion import Tenure
from hotswap.messages import FindTenure
from hotswap.ports import Tenures


class PromotionActivities:
    def __init__(self, tenures: Tenures) -> None:
        self._tenures = tenures

    @activity.defn
    @acting
    async def find_tenure(self, wanted: FindTenure) -> Tenure:
        return await self._tenures.tenure(wanted.model, wanted.environment)
