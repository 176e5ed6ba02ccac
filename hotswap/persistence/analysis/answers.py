"""Distributions of both arms' answers, for the judge of collapse; implements `hotswap.ports.Meter`.

Three distributions: the answers themselves, as text; where they are numbers their sizes, in classes a third wide; and
the confidences, in classes of 0.05. A caller's answers weigh 1 together. Only what the weight chose is counted,
over the time since the step's weight was verified; batches are left out.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Integer, Text, case, func, literal, select
from sqlalchemy.sql.selectable import Select

from hotswap.domain.analysis import ANSWER, Metric, Reading, Subject
from hotswap.persistence.analysis import draws
from hotswap.persistence.analysis.arms import answered_by_weight, moment, reading
from hotswap.persistence.analysis.predictions import number_of
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import InferenceRequest

MOST_CATEGORIES = 100
"""The most categories of each arm and distribution: rarer ones are nobody's collapse."""
LONGEST = 64
PER_E_FOLD = 3
OTHERS = "(others)"


class PostgresAnswers:
    def __init__(self, sessions: Sessions, *, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        now = self._clock()
        shares: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
        has_callers = False
        async with reading(self._sessions) as session:
            for name, category in _categories().items():
                for application, value, weight, callers in await session.execute(_weighed(category, subject)):
                    of_arm = shares[application].setdefault(name, {})
                    of_arm[value] = of_arm.get(value, 0.0) + float(weight)
                    has_callers = has_callers or callers > 0
        return Reading(
            now,
            candidate_shares=dict(shares[subject.candidate]),
            stable_shares=dict(shares[subject.stable]),
            has_callers=has_callers,
        )


def _categories() -> dict[str, ColumnElement[Any]]:
    record = InferenceRequest
    number = number_of(record.prediction)
    size = func.sign(number) * func.floor(func.ln(1 + func.abs(number)) * PER_E_FOLD)
    sure = func.floor(func.least(func.greatest(record.confidence, 0.0), 0.9999) * 20).cast(Integer)
    return {
        ANSWER: func.left(record.prediction, LONGEST),
        "size class": case((number.is_not(None), size.cast(Integer).cast(Text)), else_=None),
        "confidence class": case((record.confidence.is_not(None), sure.cast(Text)), else_=None),
    }


def _weighed(category: ColumnElement[Any], subject: Subject) -> Select[Any]:
    record = InferenceRequest
    weighed = draws.weighed(
        category,
        record.application.in_([subject.candidate, subject.stable]),
        record.requested_at >= moment(subject.since),
        answered_by_weight(),
        record.is_batch.is_(False),
        category.is_not(None),
        entity=record.entity,
        arm=record.application,
    )
    total = func.sum(weighed.weight)
    ranked = (
        select(
            weighed.arm,
            weighed.category,
            total.label("weight"),
            func.count(weighed.entity).label("callers"),
            func.row_number().over(partition_by=weighed.arm, order_by=[total.desc(), weighed.category]).label("at"),
        )
        .group_by(weighed.arm, weighed.category)
        .subquery()
        .c
    )
    # A category that is common in one arm must be found in the other too, where it may be rare.
    common = select(ranked.category).where(ranked.at <= MOST_CATEGORIES)
    name = case((ranked.category.in_(common), ranked.category), else_=literal(OTHERS))
    return select(ranked.arm, name, func.sum(ranked.weight), func.sum(ranked.callers)).group_by(ranked.arm, name)
