"""The lineage of the traffic plan: a database that was restored from a backup gets a new one."""

import logging
from collections.abc import Iterable

from hotswap.domain.proxies import RegisteredProxy
from hotswap.domain.traffic import TrafficPlan
from hotswap.ports import TrafficPlans

logger = logging.getLogger(__name__)


async def not_behind(plans: TrafficPlans, plan: TrafficPlan, proxies: Iterable[RegisteredProxy]) -> TrafficPlan:
    """Return the plan, in a new lineage where a proxy has confirmed one that PostgreSQL never made.

    Then PostgreSQL was restored from a backup: its plans confirm nothing, since every proxy has had their generations
    before. Proxies that merely have a later plan of PostgreSQL's have this one too.
    """
    ahead = max((each.report.confirmed for each in proxies if each.belongs_to(plan)), default=plan.number)
    if ahead <= plan.number:
        return plan
    present = await plans.current()
    if ahead <= present.number:
        return plan
    logger.error(
        "a proxy has a newer traffic plan than PostgreSQL, which was restored from a backup: its plans go on in a "
        "new lineage",
        extra={"proxy_has": str(ahead), "postgres_has": str(present.number)},
    )
    return await plans.begin_lineage(after=ahead.lineage)
