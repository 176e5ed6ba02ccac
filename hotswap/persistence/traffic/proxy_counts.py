"""History of the proxies' counts: their reports hold only the present sums.

Each proxy's growth since the last sample is added up over all proxies, so that the difference of two rows is what
clients got between them, whatever was restarted, forgotten or added meanwhile. A row is written only where something
grew. One recorder samples at a time: others leave it to that one.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.traffic import Counts, ProxyReport
from hotswap.persistence.platform import advisory
from hotswap.persistence.platform.advisory import AdvisoryLock
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import Now, ProxyCount, ProxyMark


def read_counts(stored: object) -> Counts:
    return msgspec.convert(stored, Counts)


async def sample(sessions: Sessions, reports: Sequence[ProxyReport]) -> None:
    """Add what came since the last sample; the same reports again add nothing."""
    async with sessions.begin() as session:
        if not await advisory.try_to_take(session, AdvisoryLock.PROXY_COUNTS):
            return
        proxies = [report.proxy for report in reports]
        marks = {
            (mark.proxy, mark.application): read_counts(mark.counts)
            for mark in await session.scalars(select(ProxyMark).where(ProxyMark.proxy.in_(proxies)))
        }
        grown: dict[str, Counts] = {}
        for report in reports:
            for application, counts in report.counts.items():
                before = marks.get((report.proxy, application))
                if counts == before:
                    continue
                grown[application] = grown.get(application, Counts()) + counts.since(before or Counts())
                await _mark(session, report.proxy, application, counts)
        for application, counts in grown.items():
            total = await at(session, application, None) + counts
            statement = insert(ProxyCount).values(application=application, at=Now, counts=msgspec.to_builtins(total))
            await session.execute(statement)


async def at(session: AsyncSession, application: str, when: float | None) -> Counts:
    """Return all that the proxies had answered for it by `when` (Unix time, seconds); None means by now."""
    query = select(ProxyCount.counts).where(ProxyCount.application == application)
    if when is not None:
        query = query.where(ProxyCount.at <= text("to_timestamp(:when)").bindparams(when=when))
    found = await session.scalar(query.order_by(ProxyCount.at.desc()).limit(1))
    return Counts() if found is None else read_counts(found)


async def _mark(session: AsyncSession, proxy: str, application: str, counts: Counts) -> None:
    said = msgspec.to_builtins(counts)
    statement = insert(ProxyMark).values(proxy=proxy, application=application, counts=said)
    await session.execute(statement.on_conflict_do_update(constraint="pk_proxy_marks", set_={"counts": said}))
