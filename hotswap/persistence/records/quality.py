"""Quality of predictions in any window of time, from the roll-ups of their outcomes.

A window is put together from hours, minutes and, at its ends, seconds, so that it is read in a few hundred rows however
long it is, and is exact to the second as long as there are roll-ups of that width
(`hotswap/persistence/records/matcher.py`).
"""

import math
from datetime import UTC, datetime

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.analysis.quality import OutcomeTally, Quality
from hotswap.analysis.quality import quality as quality_of
from hotswap.persistence.records.rollups import pieces
from hotswap.persistence.tables import OutcomeRollup


async def quality(
    session: AsyncSession,
    *,
    since: datetime,
    until: datetime,
    application: str | None = None,
    model: str | None = None,
    version: str | None = None,
    environment: str | None = None,
) -> Quality:
    """Return the quality of predictions from `since` until before `until` whose outcome is known by now.

    The other arguments narrow it down; `model` is a name. Requests that chose their version themselves count too.
    """
    wanted = {"application": application, "model": model, "version": version, "environment": environment}
    parts = pieces(math.floor(since.timestamp()), math.ceil(until.timestamp()))
    if not parts:
        return Quality()
    in_time = or_(
        *(
            and_(
                OutcomeRollup.width_seconds == width,
                OutcomeRollup.at >= _moment(begin),
                OutcomeRollup.at < _moment(end),
            )
            for width, begin, end in parts
        )
    )
    named = (getattr(OutcomeRollup, name) == value for name, value in wanted.items() if value is not None)
    rows = await session.scalars(select(OutcomeRollup).where(in_time, *named))
    return quality_of(as_tally(row) for row in rows)


def begin_of(at: datetime, width: int) -> datetime:
    """Return the beginning of the bucket that holds this time."""
    return _moment(math.floor(at.timestamp()) // width * width)


def as_tally(row: OutcomeRollup) -> OutcomeTally:
    confusion = {actual: dict(predicted) for actual, predicted in row.confusion.items()}
    return OutcomeTally(row.labels, row.correct, row.numbers, row.absolute, row.squared, confusion)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
