"""Predictions of both arms, and their confidences; implements `hotswap.ports.Meter`.

Only what the weight chose is counted, as for accuracy (`accuracy.py`). Batches are left out, as theirs are lists.
"""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Double, case, func
from sqlalchemy.orm import InstrumentedAttribute

from hotswap.domain.analysis import Metric, Reading, Source, Subject
from hotswap.persistence.analysis import draws
from hotswap.persistence.analysis.arms import answered_by_weight, of_both_arms, reading
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import InferenceRequest

_NUMBER = r"^-?[0-9]{1,15}(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$"


class PostgresPredictions:
    def __init__(self, sessions: Sessions, *, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        """Return both arms' values; if nothing runs beside the candidate any more, the stable's of the day before."""
        now, record = self._clock(), InferenceRequest
        number = record.confidence if metric.source is Source.CONFIDENCE else number_of(record.prediction)
        lowest, highest = metric.bounds
        # PostgreSQL's `least` and `greatest` leave nulls out: one would count as the lowest value there is.
        value = case((number.is_not(None), func.least(func.greatest(number, lowest), highest)), else_=None)
        wanted = draws.summed(
            value,
            of_both_arms(record, subject),
            answered_by_weight(),
            record.is_batch.is_(False),
            entity=record.entity,
            groups=[record.application],
        )
        async with reading(self._sessions) as session:
            seen = {application: draws.read(*sums) for application, *sums in await session.execute(wanted)}
        return draws.reading(now, seen.get(subject.candidate), seen.get(subject.stable))


def number_of(text: InstrumentedAttribute[str | None]) -> ColumnElement[Any]:
    """Return the prediction if it is a number, otherwise null."""
    return case((text.regexp_match(_NUMBER), text.cast(Double)), else_=None)
