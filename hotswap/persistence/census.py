"""Callers that keep their arm, counted from the records; implements `hotswap.ports.EntityCensus`.

Counted is what the weight chose. Whom the stable answered in the failed candidate's place is the candidate's caller,
and saw it fail; what was wrong with the request itself is nobody's failure.
"""

from sqlalchemy import and_, func, or_, select

from hotswap.domain.analysis import Entities, Subject
from hotswap.domain.vocabulary import ChosenBy, InferenceStatus
from hotswap.persistence.arms import moment
from hotswap.persistence.database import Sessions
from hotswap.persistence.tables import InferenceRequest


class PostgresCensus:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def entities(self, subject: Subject) -> Entities:
        record, entity = InferenceRequest, InferenceRequest.entity
        failed = or_(record.status == InferenceStatus.TIMEOUT, record.error.startswith("INFERENCE_ERROR"))
        rescued = record.fallback_from == subject.candidate_version
        candidates = or_(record.application == subject.candidate, rescued)
        stables = and_(record.application == subject.stable, record.fallback_from.is_(None))
        counted = select(
            *(
                func.count(entity.distinct()).filter(whose)
                for whose in (
                    candidates,
                    stables,
                    or_(rescued, and_(record.application == subject.candidate, failed)),
                    and_(stables, failed),
                )
            )
        ).where(
            record.application.in_([subject.candidate, subject.stable]),
            record.requested_at >= moment(subject.since),
            record.chosen_by == ChosenBy.WEIGHT,
            entity.is_not(None),
        )
        async with self._sessions() as session:
            found = tuple((await session.execute(counted)).one())
        return Entities(*found)
