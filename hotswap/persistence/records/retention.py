"""Deletion of what is old: the finest figures first, records by whole days, outcomes with them.

A day of records is dropped as the partition it is, which takes no longer for ten million of them than for one. Rows
that are deleted one by one go a few at a time, so that nobody waits for it.
"""

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hotswap.domain.errors import Unavailable
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.idempotency import KEPT
from hotswap.persistence.records.rollups import HOUR, MINUTE, SECOND
from hotswap.settings import RetentionSettings

PATIENCE_MS = 5_000
"""The time that a partition's drop waits for its readers, with writers behind it in the queue."""

UNMATCHED_KEPT = timedelta(days=7)
"""The time for which an outcome may come before the record that it belongs to."""

_AT_ONCE = 5_000

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

# The last observation of each minute, and so the one that the analysis' verdict was made on, stays.
_BETWEEN_MINUTES = (
    "(deployment_id, step, begun_at) = (:deployment_id, :step, :begun_at) AND at NOT IN (SELECT max(at) "
    "FROM analysis_looks WHERE (deployment_id, step, begun_at) = (:deployment_id, :step, :begun_at) "
    "GROUP BY floor(at / 60))"
)
_OVER = text(
    "SELECT deployment_id, step, begun_at FROM analysis_results WHERE NOT thinned AND judged_at < :before LIMIT 100"
)
_THINNED = text(
    "WITH over AS (UPDATE analysis_results SET thinned = true "
    "WHERE (deployment_id, step, begun_at) = (:deployment_id, :step, :begun_at)) "
    "DELETE FROM analysis_checkpoints WHERE (deployment_id, step, begun_at) = (:deployment_id, :step, :begun_at)"
)

_BEFORE_THE_LAST = (
    "(deployment_id, step, begun_at) IN (SELECT deployment_id, step, begun_at FROM analysis_results "
    "WHERE thinned AND judged_at < :before) AND EXISTS (SELECT FROM analysis_looks AS later "
    "WHERE (later.deployment_id, later.step, later.begun_at) "
    "= (analysis_looks.deployment_id, analysis_looks.step, analysis_looks.begun_at) AND later.at > analysis_looks.at)"
)

logger = logging.getLogger(__name__)


async def let_go(sessions: Sessions, retention: RetentionSettings, *, now: datetime) -> None:
    """Delete what is older than its time."""
    for width, kept in ((SECOND, retention.seconds), (MINUTE, retention.minutes), (HOUR, retention.hours)):
        old = {"width": width, "before": now - kept}
        for rollups in ("record_rollups", "outcome_rollups"):
            await _delete(sessions, rollups, "width_seconds = :width AND at < :before", old)
    async with sessions.begin() as session:
        for width, kept in ((MINUTE, retention.seconds), (HOUR, retention.minutes)):
            await session.execute(_THIN, {"before": now - kept, "width": width})
    await _delete(sessions, "proxy_counts", "at < :before", {"before": now - retention.hours})
    unmatched = "application IS NULL AND received_at < :before"
    await _delete(sessions, "outcomes", unmatched, {"before": now - UNMATCHED_KEPT})
    await _delete(sessions, "outcomes", "received_at < :before", {"before": now - retention.records})
    answered = "due_at IS NULL AND accepted_at < :before"
    await _delete(sessions, "async_inferences", answered, {"before": now - retention.async_results})
    await _delete(sessions, "idempotency_keys", "created_at < :before", {"before": now - KEPT})
    await _thin_observations(sessions, before=now - retention.looks)
    await _delete(sessions, "analysis_looks", _BEFORE_THE_LAST, {"before": now - retention.thinned_looks})
    await _drop_partitions(sessions, before=now - retention.records)


async def _thin_observations(sessions: Sessions, *, before: datetime) -> None:
    """Keep one observation a minute of each analysis that is over, and no checkpoint: no watch goes on with it."""
    while True:
        async with sessions() as session:
            over = [dict(row) for row in (await session.execute(_OVER, {"before": before})).mappings()]
        for analysis in over:
            await _delete(sessions, "analysis_looks", _BETWEEN_MINUTES, analysis)
            async with sessions.begin() as session:
                await session.execute(_THINNED, analysis)
        if not over:
            return


async def _delete(sessions: Sessions, table: str, which: str, values: dict[str, Any]) -> None:
    some = text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {which} "  # noqa: S608 - constants
        f"LIMIT {_AT_ONCE} FOR UPDATE SKIP LOCKED))"
    )
    while True:
        async with sessions.begin() as session:
            done: Any = await session.execute(some, values)
        if done.rowcount < _AT_ONCE:
            return


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
        except (Unavailable, DBAPIError) as error:
            logger.warning(
                "an old partition stays for another hour", extra={"partition": name, "error": str(error)[:500]}
            )
    # A backlog that is older than any partition.
    await _delete(sessions, "inference_requests_default", "requested_at < :before", {"before": before})
