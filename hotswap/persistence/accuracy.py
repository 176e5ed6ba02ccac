"""How good both arms' predictions are, by the outcomes reported so far; implements `hotswap.ports.Meter`.

Counted is what the weight chose and nothing else: a version that was asked for by name, or the stable where it answered
in a failed candidate's place, met other requests than those it is compared on. A score is 1 for a right label and 0 for
a wrong one; of a number it is minus its distance from the outcome, within the metric's `bounds`, which it needs: a mean
of what may be any number can't be judged.
"""

import time
from collections.abc import Callable

from sqlalchemy import case, func, select

from hotswap.domain.analysis import Metric, Moments, Reading, Subject
from hotswap.persistence.arms import of_both_arms
from hotswap.persistence.database import Sessions
from hotswap.persistence.tables import OutcomeRow


class PostgresAccuracy:
    def __init__(self, sessions: Sessions, *, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        now = self._clock()
        lowest, highest = metric.bounds
        within = func.least(func.greatest(OutcomeRow.score, lowest), highest)
        value = case((OutcomeRow.is_number.is_(True), within), else_=OutcomeRow.score)
        arms = of_both_arms(OutcomeRow, subject)
        async with self._sessions() as session:
            rows = await session.execute(
                select(
                    OutcomeRow.application,
                    OutcomeRow.is_number,
                    func.count(),
                    func.sum(value),
                    func.sum(value * value),
                )
                .where(OutcomeRow.is_compared, arms)
                .group_by(OutcomeRow.application, OutcomeRow.is_number)
            )
            seen = [tuple(row) for row in rows]
        kinds = {is_number for _, is_number, *_ in seen}
        if len(kinds) > 1:
            return Reading(now, error="one arm predicts labels and the other numbers, which have no common score")
        if True in kinds and lowest >= 0:
            return Reading(
                now,
                error="the predictions are numbers, whose score is minus their distance from the outcome: it needs "
                "`bounds` below 0 in `analysis.metrics`, such as [-10, 0]",
            )
        moments = {application: Moments(count, total, squares) for application, _, count, total, squares in seen}
        return Reading(
            now,
            candidate=moments.get(subject.candidate, Moments()),
            stable=moments.get(subject.stable, Moments()),
        )
