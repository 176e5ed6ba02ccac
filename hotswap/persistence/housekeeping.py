"""What the recorder does beside recording: sample the proxies' counts each second, and let go each hour of what is old.

Finer roll-ups go first: the seconds, then the minutes, the hours last. Records go by whole days, by dropping their
partition, which takes no longer for ten million of them than for one. Whatever is away is tried again, and never holds
up the records.
"""

import asyncio
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sqlalchemy import delete, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import ProxyReport
from hotswap.persistence.database import Sessions
from hotswap.persistence.proxy_counts import sample
from hotswap.persistence.rollups import HOUR, MINUTE, SECOND
from hotswap.persistence.tables import ProxyCount, RecordRollup
from hotswap.settings import RetentionSettings

SAMPLE_SECONDS = 1.0
RETENTION_SECONDS = 3600.0
PATIENCE_MS = 5_000
"""How long a partition's drop waits for those who read it, with those who write behind it in the queue."""

_PARTITIONS = text(
    "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
    "WHERE inhparent = 'inference_requests'::regclass"
)
_DAY = re.compile(r"inference_requests_(\d{8})")

# Between two that are kept, what a proxy had counted is of no interest to a coarser window.
_THIN = text(
    "DELETE FROM proxy_counts USING ("
    "SELECT application, at, lead(at) OVER (PARTITION BY application ORDER BY at) AS next "
    "FROM proxy_counts WHERE at < :before) AS seen "
    "WHERE proxy_counts.application = seen.application AND proxy_counts.at = seen.at "
    "AND date_bin(make_interval(secs => :width), seen.at, 'epoch') "
    "= date_bin(make_interval(secs => :width), seen.next, 'epoch')"
)

logger = logging.getLogger(__name__)


class Reports(Protocol):
    async def reports(self) -> list[ProxyReport]: ...


class Housekeeper:
    def __init__(self, sessions: Sessions, bus: Reports, retention: RetentionSettings) -> None:
        self._sessions = sessions
        self._bus = bus
        self._retention = retention

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_sampling())
            group.create_task(self._keep_letting_go())

    async def _keep_sampling(self) -> None:
        is_away = False
        while True:
            try:
                await sample(self._sessions, await self._bus.reports())
                is_away = False
            except (Unavailable, SQLAlchemyError, OSError) as error:
                if not is_away:
                    logger.warning("the proxies' counts wait", extra={"error": str(error)[:500]})
                is_away = True
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _keep_letting_go(self) -> None:
        while True:
            try:
                await let_go(self._sessions, self._retention, now=datetime.now(UTC))
            except (SQLAlchemyError, OSError) as error:
                logger.warning("what is old stays for another hour", extra={"error": str(error)[:500]})
            await asyncio.sleep(RETENTION_SECONDS)


async def let_go(sessions: Sessions, retention: RetentionSettings, *, now: datetime) -> None:
    """Delete what is older than its time."""
    async with sessions.begin() as session:
        for width, kept in ((SECOND, retention.seconds), (MINUTE, retention.minutes), (HOUR, retention.hours)):
            await session.execute(
                delete(RecordRollup).where(RecordRollup.width_seconds == width, RecordRollup.at < now - kept)
            )
    async with sessions.begin() as session:
        for width, kept in ((MINUTE, retention.seconds), (HOUR, retention.minutes)):
            await session.execute(_THIN, {"before": now - kept, "width": width})
        await session.execute(delete(ProxyCount).where(ProxyCount.at < now - retention.hours))
    await _drop_partitions(sessions, before=now - retention.records)


async def _drop_partitions(sessions: Sessions, *, before: datetime) -> None:
    async with sessions() as session:
        names = list(await session.scalars(_PARTITIONS))
    for name in names:
        if (day := _DAY.fullmatch(name)) is None:
            continue
        ended = datetime.strptime(day[1], "%Y%m%d").replace(tzinfo=UTC) + timedelta(days=1)
        if ended > before:
            continue
        try:
            async with sessions.begin() as session:
                await session.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_MS}ms'"))
                await session.execute(text(f"DROP TABLE IF EXISTS {name}"))
        except DBAPIError as error:
            logger.warning(
                "an old partition stays for another hour", extra={"partition": name, "error": str(error)[:500]}
            )
    async with sessions.begin() as session:  # a backlog older than any partition
        await session.execute(
            text("DELETE FROM inference_requests_default WHERE requested_at < :before"), {"before": before}
        )
