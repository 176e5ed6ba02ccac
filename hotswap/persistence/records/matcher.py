"""Finds the records that outcomes belong to, and adds what the predictions were worth to the roll-ups.

Runs beside the recorder, whose records it waits for; any number of them may. One transaction takes outcomes that are
due, finds the record that answered each request, and counts it: so an outcome is counted once, whoever dies when. What
has no record yet is looked for again, ever less often, until it is dropped (`retention.py`). An outcome that took
another's place is counted in its stead.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, func, select, text, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential_jitter

from hotswap.analysis.quality import QualityScore, scored
from hotswap.domain.vocabulary import ChosenBy, ModelType
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.records.quality import as_tally, begin_of
from hotswap.persistence.records.rollups import WIDTHS
from hotswap.persistence.tables import OutcomeRollup, OutcomeRow

AT_ONCE = 500
IDLE_SECONDS = 0.5
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.2, 15.0

_RECORDS = text("""
    SELECT DISTINCT ON (r.request_id)
        r.request_id, r.requested_at, r.environment, r.model_name, r.version, r.application, r.prediction,
        r.fallback_from, r.chosen_by, r.entity, m.type
    FROM inference_requests r LEFT JOIN models m ON m.name = r.model_name
    WHERE r.request_id = ANY(:ids) AND r.status = 'Completed' AND r.arm <> 'shadow'
    ORDER BY r.request_id, r.requested_at, r.record_id
""")

OutcomeKey = tuple[str, int, datetime]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MatchedRecord:
    """The record that answered a request, and what its prediction is worth; None where that can't be said."""

    record: RowMapping
    score: QualityScore | None


class Matcher:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def run(self) -> None:
        """Run until cancelled; after an error, such as a database that is away, try again ever less often."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Exception),  # whatever it is, records go on
            wait=wait_exponential_jitter(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS, jitter=1),
            before_sleep=_tell,
        )
        while True:
            taken: int = await retrying.copy()(self.match)
            if taken < AT_ONCE:
                await asyncio.sleep(IDLE_SECONDS)

    async def match(self) -> int:
        """Take outcomes that are due, and count those whose record is there; how many were taken."""
        async with self._sessions.begin() as session:
            due = list(
                await session.scalars(
                    select(OutcomeRow)
                    .where(OutcomeRow.due_at <= func.now())
                    .order_by(OutcomeRow.due_at)
                    .limit(AT_ONCE)
                    .with_for_update(skip_locked=True)
                )
            )
            if due:
                found = await _found(session, due)
                await _count(session, due, found)
                await _mark(session, due, found)
        return len(due)


async def _found(session: AsyncSession, due: list[OutcomeRow]) -> dict[str, MatchedRecord]:
    outcomes = {row.request_id: row.outcome for row in due}
    records = await session.execute(_RECORDS, {"ids": list(outcomes)})
    return {
        record["request_id"]: MatchedRecord(record, _score(record, outcomes[record["request_id"]]))
        for record in records.mappings()
    }


def _score(record: RowMapping, outcome: str) -> QualityScore | None:
    if record["prediction"] is None:
        return None
    return scored(record["prediction"], outcome, model=record["type"] or ModelType.OTHER)


async def _count(session: AsyncSession, due: list[OutcomeRow], found: dict[str, MatchedRecord]) -> None:
    """Add the new scores to the roll-ups, and take out of them what had been counted of the same requests."""
    changes: dict[OutcomeKey, list[tuple[QualityScore, int]]] = {}
    named: dict[OutcomeKey, RowMapping] = {}
    for row in due:
        match = found.get(row.request_id)
        if match is None:
            continue
        if (before := _counted(row)) is not None:
            assert row.application is not None
            assert row.requested_at is not None
            for key in _keys(row.application, row.requested_at):
                changes.setdefault(key, []).append((before, -1))
        if match.score is not None:
            for key in _keys(match.record["application"], match.record["requested_at"]):
                changes.setdefault(key, []).append((match.score, 1))
                named[key] = match.record
    if named:
        empty = [_empty(key, named[key]) for key in sorted(named)]
        await session.execute(insert(OutcomeRollup).values(empty).on_conflict_do_nothing())
    for rollup in await _locked(session, changes):
        tally = as_tally(rollup)
        for score, times in changes[rollup.application, rollup.width_seconds, rollup.at]:
            tally.add(score, times)
        rollup.labels, rollup.correct, rollup.numbers = tally.labels, tally.correct, tally.numbers
        rollup.absolute, rollup.squared = tally.absolute, tally.squared
        rollup.confusion = tally.confusion


async def _locked(session: AsyncSession, keys: Iterable[OutcomeKey]) -> list[OutcomeRollup]:
    """Lock the rows in the order of their insertion, so that two matchers never wait for each other."""
    identity = (OutcomeRollup.application, OutcomeRollup.width_seconds, OutcomeRollup.at)
    found = await session.scalars(
        select(OutcomeRollup).where(tuple_(*identity).in_(sorted(keys))).order_by(*identity).with_for_update()
    )
    return list(found)


async def _mark(session: AsyncSession, due: list[OutcomeRow], found: dict[str, MatchedRecord]) -> None:
    """Write down what was counted; what has no record is due again when a quarter of its age has passed once more."""
    now = await session.scalar(select(func.now()))
    assert now is not None
    for row in due:
        match = found.get(row.request_id)
        if match is None:
            row.due_at = now + max(timedelta(seconds=1), (now - row.received_at) / 4)
            continue
        record, score = match.record, match.score
        row.due_at = None
        row.application, row.requested_at = record["application"], record["requested_at"]
        row.entity = record["entity"]
        row.predicted = score.predicted if score is not None else None
        row.counted = score.actual if score is not None else None
        row.error = score.error if score is not None else None
        row.score = score.value if score is not None else None
        row.is_number = score.error is not None if score is not None else None
        row.is_compared = (
            score is not None and record["chosen_by"] == ChosenBy.WEIGHT and record["fallback_from"] is None
        )


def _counted(row: OutcomeRow) -> QualityScore | None:
    if row.predicted is None or row.counted is None:
        return None
    return QualityScore(row.predicted, row.counted, row.error)


def _keys(application: str, at: datetime) -> list[OutcomeKey]:
    return [(application, width, begin_of(at, width)) for width in WIDTHS]


def _empty(key: OutcomeKey, record: RowMapping) -> dict[str, Any]:
    application, width, at = key
    return {
        "application": application,
        "width_seconds": width,
        "at": at,
        "environment": record["environment"],
        "model": record["model_name"],
        "version": record["version"],
    }


def _tell(failed: RetryCallState) -> None:
    assert failed.outcome is not None
    logger.warning("outcomes wait to be counted", extra={"error": repr(failed.outcome.exception())[:500]})
