"""Outcomes as they are reported, before anybody knows what they belong to.

One row per request: the same outcome again changes nothing, another one takes its place and is due to be counted in its
stead. Neither needs the request's record, which may still be on its way: `hotswap/persistence/records/matcher.py` finds
it.

Whose roles are all in teams reports for those teams' models, as far as a record is there to tell, and replaces nothing
that another caller said.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, true
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.errors import FieldProblem, Forbidden
from hotswap.domain.vocabulary import ArmName, InferenceStatus
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import InferenceRequest, Model, OutcomeRow

_ANSWERED = (InferenceRequest.status == InferenceStatus.COMPLETED, InferenceRequest.arm != ArmName.SHADOW)
"""The records of a request to which its outcome may belong; the first of them is the one."""
MOST_NAMED = 20
"""Requests that a refusal names one by one."""


@dataclass(frozen=True, slots=True)
class Reported:
    """`outcome` is a `hotswap.analysis.quality.label`; `observed_at` decides where one is late and another is newer."""

    request_id: str
    outcome: str
    observed_at: datetime | None = None


class PostgresOutcomes:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def report(self, outcomes: Sequence[Reported], *, by: str, teams: Collection[str] | None = None) -> None:
        """Keep each request's newest: of several here the last one, unless it was observed before the one known.

        `teams` are those in which alone the caller has a role; None if it counts everywhere. Raises Forbidden, and
        keeps nothing, where one of these is another team's, or another caller has reported something else of it.
        """
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
        is_own = OutcomeRow.reported_by == by if teams is not None else true()
        async with self._sessions.begin() as session:
            if teams is not None:
                await _check_teams(session, list(last), teams)
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
                    & is_own
                    & or_(
                        new.observed_at.is_(None),
                        OutcomeRow.observed_at.is_(None),
                        new.observed_at >= OutcomeRow.observed_at,
                    ),
                )
            )
            if teams is not None:
                await _check_reporters(session, last, by)


async def _check_teams(session: AsyncSession, requests: Sequence[str], teams: Collection[str]) -> None:
    """Check the teams of the records that exist. Raises Forbidden."""
    first = (
        select(InferenceRequest.request_id, InferenceRequest.model_name)
        .where(InferenceRequest.request_id.in_(requests), *_ANSWERED)
        .ext(distinct_on(InferenceRequest.request_id))
        .order_by(InferenceRequest.request_id, InferenceRequest.requested_at, InferenceRequest.record_id)
        .subquery()
    )
    found = select(first.c.request_id).outerjoin(Model, Model.name == first.c.model_name)
    others = await session.scalars(found.where(func.coalesce(Model.team.not_in(teams), true())))
    _refuse(others, "was answered by a model of no team of yours")


async def _check_reporters(session: AsyncSession, last: Mapping[str, Reported], by: str) -> None:
    """Check who reported, once the rows are locked by the writing of what may be written. Raises Forbidden."""
    others = select(OutcomeRow.request_id, OutcomeRow.outcome).where(
        OutcomeRow.request_id.in_(last), OutcomeRow.reported_by != by
    )
    rows = await session.execute(others)
    differing = [row.request_id for row in rows if row.outcome != last[row.request_id].outcome]
    _refuse(
        differing, "has an outcome that another caller reported, which takes a role that counts everywhere to replace"
    )


def _refuse(requests: Iterable[str], problem: str) -> None:
    if refused := sorted(requests):
        named = [FieldProblem("requestId", f"{each} {problem}") for each in refused[:MOST_NAMED]]
        more = f", and so {len(refused) - 1} more" if len(refused) > 1 else ""
        raise Forbidden(f"{named[0].message}{more}; no outcome of this call was stored", *named)
