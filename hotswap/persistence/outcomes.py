"""Outcomes as they are reported, before anybody knows what they belong to.

One row per request: the same outcome again changes nothing, another one takes its place and is due to be counted in its
stead. Neither needs the request's record, which may still be on its way: `hotswap.persistence.matcher` finds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_
from sqlalchemy.dialects.postgresql import insert

from hotswap.persistence.database import Sessions
from hotswap.persistence.tables import OutcomeRow


@dataclass(frozen=True, slots=True)
class Reported:
    """`outcome` is a `hotswap.analysis.quality.label`; `observed_at` decides where one is late and another is newer."""

    request_id: str
    outcome: str
    observed_at: datetime | None = None


class PostgresOutcomes:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def report(self, outcomes: Sequence[Reported], *, by: str) -> None:
        """Keep each request's newest: of several here the last one, unless it was observed before the one known."""
        last = {each.request_id: each for each in outcomes}
        # In one order, so that two reports of the same requests never wait for each other.
        values = [
            {
                "request_id": each.request_id,
                "outcome": each.outcome,
                "observed_at": each.observed_at,
                "reported_by": by,
            }
            for _, each in sorted(last.items())
        ]
        if not values:
            return
        statement = insert(OutcomeRow).values(values)
        new = statement.excluded
        async with self._sessions.begin() as session:
            await session.execute(
                statement.on_conflict_do_update(
                    index_elements=["request_id"],
                    set_={
                        "outcome": new.outcome,
                        "observed_at": new.observed_at,
                        "reported_by": new.reported_by,
                        "received_at": func.now(),
                        "due_at": func.now(),
                    },
                    where=(OutcomeRow.outcome != new.outcome)
                    & or_(
                        new.observed_at.is_(None),
                        OutcomeRow.observed_at.is_(None),
                        new.observed_at >= OutcomeRow.observed_at,
                    ),
                )
            )
