"""Accuracy of both arms' predictions by the outcomes reported so far; implements `hotswap.ports.Meter`.

Only what the weight chose is counted: a version that was asked for by name, or the stable where it answered
in a failed candidate's place, met other requests than those it is compared on. A score is 1 for a right label and 0 for
a wrong one; of a number it is minus its distance from the outcome, within the metric's `bounds`, which it needs: a mean
of what may be any number can't be judged.
"""

import time
from collections.abc import Callable

from sqlalchemy import case, func

from hotswap.domain.analysis import Metric, Reading, Subject
from hotswap.persistence.analysis import draws
from hotswap.persistence.analysis.arms import of_both_arms, reading
from hotswap.persistence.platform.database import Sessions
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
        wanted = draws.summed(
            value,
            OutcomeRow.is_compared,
            arms,
            entity=OutcomeRow.entity,
            groups=[OutcomeRow.application, OutcomeRow.is_number],
        )
        async with reading(self._sessions) as session:
            seen = [tuple(row) for row in await session.execute(wanted)]
        kinds = {is_number for _, is_number, *_ in seen}
        if len(kinds) > 1:
            return Reading(now, error="one arm predicts labels and the other numbers, which have no common score")
        if True in kinds and lowest >= 0:
            return Reading(
                now,
                error="the predictions are numbers, whose score is minus their distance from the outcome: it needs "
                "`bounds` below 0 in `analysis.metrics`, such as [-10, 0]",
            )
        found = {application: draws.read(*sums) for application, _, *sums in seen}
        return draws.reading(now, found.get(subject.candidate), found.get(subject.stable))
