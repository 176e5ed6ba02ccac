"""Conditions for the rows of a step's arms, and the session to read them, which all meters share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, or_, text
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.analysis import Subject
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.vocabulary import ChosenBy, InferenceStatus
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import InferenceRequest, OutcomeRow

MOST_SECONDS = 10.0
"""The longest statement that works out a figure of a bake's records."""

LOOK_BACK_SECONDS = 24 * 3600.0
"""The stable's past that counts if nothing runs beside the candidate any more."""


def of_both_arms(rows: type[InferenceRequest] | type[OutcomeRow], subject: Subject) -> ColumnElement[bool]:
    """Match records since the step's weight was verified; the stable's since the day before, if it has no traffic."""
    stable_since = subject.since - (LOOK_BACK_SECONDS if subject.weight >= TOTAL_WEIGHT else 0.0)
    return or_(
        and_(rows.application == subject.candidate, rows.requested_at >= moment(subject.since)),
        and_(rows.application == subject.stable, rows.requested_at >= moment(stable_since)),
    )


def answered_by_weight() -> ColumnElement[bool]:
    """Match good answers to requests that the weight led there, without the stable's in the candidate's place."""
    record = InferenceRequest
    return and_(
        record.chosen_by == ChosenBy.WEIGHT,
        record.fallback_from.is_(None),
        record.status == InferenceStatus.COMPLETED,
    )


@asynccontextmanager
async def reading(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Give a session in which a statement may take as long as a figure of a bake may; then it raises Unavailable."""
    async with sessions() as session:
        await session.execute(text(f"SET LOCAL statement_timeout = '{MOST_SECONDS:g}s'"))
        yield session


def moment(at: float) -> datetime:
    """Convert Unix time to a column's value."""
    return datetime.fromtimestamp(at, UTC)
