"""Callers that keep their arm, counted from the records; implements `hotswap.ports.StickyCallers`.

Only requests that the weight led to an arm are counted. A caller that the stable answered in the failed candidate's
place is the candidate's caller, and has met its failure. A refusal counts against the candidate unless the stable,
asked in its place, refused the request as well: then it was the client's mistake.
"""

import math
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, func, or_, select

from hotswap.domain.analysis import RESCUES, Entities, Subject
from hotswap.domain.traffic import BUCKETS_PER_OCTAVE, bucket_bound
from hotswap.domain.vocabulary import ChosenBy, InferenceStatus
from hotswap.persistence.analysis import draws
from hotswap.persistence.analysis.arms import LOOK_BACK_SECONDS, answered_by_weight, moment, reading
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import InferenceRequest

MOST_BEFORE = 20_000
"""The stable's newest records before the step that are looked at: ten minutes of 30 requests a second."""

MEDIAN = round(math.log2(1000) * BUCKETS_PER_OCTAVE)
"""The bucket of a millisecond, which a caller's own median is taken for."""


class PostgresStickyCallers:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def entities(self, subject: Subject) -> Entities:
        record = InferenceRequest
        is_good = record.status == InferenceStatus.COMPLETED
        has_failed = or_(
            record.status == InferenceStatus.TIMEOUT, func.coalesce(record.error.startswith("INFERENCE_ERROR"), False)
        )
        is_refused = and_(~is_good, ~has_failed)
        in_its_place = record.fallback_from == subject.candidate_version
        by_candidate = record.application == subject.candidate
        by_stable = and_(record.application == subject.stable, record.fallback_from.is_(None))
        records, requests = func.count(), func.count(record.request_id.distinct())
        of = (
            select(
                records.filter(or_(by_candidate, in_its_place)).label("candidate"),
                records.filter(by_stable).label("stable"),
                records.filter(by_candidate, is_good).label("good"),
                records.filter(by_candidate, has_failed).label("failed"),
                records.filter(by_candidate, is_refused).label("refused"),
                records.filter(in_its_place).label("replaced"),
                records.filter(in_its_place, is_good).label("rescued"),
                records.filter(in_its_place, is_refused).label("mistaken"),
                requests.filter(or_(and_(by_candidate, has_failed), in_its_place)).label("failures"),
                requests.filter(by_stable, has_failed).label("stable_failures"),
                records.filter(by_stable, is_refused).label("stable_refused"),
            )
            .where(
                record.application.in_([subject.candidate, subject.stable]),
                record.requested_at >= moment(subject.since),
                record.chosen_by == ChosenBy.WEIGHT,
                record.entity.is_not(None),
            )
            .group_by(record.entity)
            .subquery()
            .c
        )
        # The records of what the stable answered in its place don't say whether the candidate failed or refused it; a
        # candidate that refuses is alive, and has a record of it.
        has_met_failure = or_(of.failed > 0, and_(of.replaced > 0, of.refused == 0))
        counted: dict[str, ColumnElement[Any]] = {
            "candidate": records.filter(of.candidate > 0),
            "stable": records.filter(of.stable > 0),
            "candidate_failed": records.filter(has_met_failure),
            "stable_failed": records.filter(of.stable_failures > 0),
            "candidate_refused": records.filter(of.refused > of.mistaken),
            "stable_refused": records.filter(of.stable_refused > 0),
            "candidate_rescued": records.filter(of.rescued >= RESCUES, of.good == 0, of.refused == 0),
            "candidate_failures": func.coalesce(func.sum(of.failures - func.least(of.refused, of.replaced)), 0),
            "stable_failures": func.coalesce(func.sum(of.stable_failures), 0),
        }
        async with reading(self._sessions) as session:
            found = (await session.execute(select(*counted.values()))).one()
            latency = await session.execute(_latency(subject))
            seen = [(application, place, float(weight)) for application, place, weight in latency]
            relative = await session.execute(_relative_latency(subject))
            usual = [(application, MEDIAN + away, float(weight)) for application, away, weight in relative]
        numbers: dict[str, Any] = {name: int(count) for name, count in zip(counted, found, strict=True)}
        mine, theirs, mine_relative, theirs_relative = (
            {bucket_bound(place): weight for application, place, weight in rows if application == arm}
            for rows in (seen, usual)
            for arm in (subject.candidate, subject.stable)
        )
        return Entities(
            **numbers,
            candidate_latency=mine,
            stable_latency=theirs,
            candidate_relative=mine_relative,
            stable_relative=theirs_relative,
        )


def _latency(subject: Subject) -> Select[Any]:
    """Return the weight in each bucket: a caller's good answers weigh 1 together, and each one without a caller 1."""
    record = InferenceRequest
    weighed = draws.weighed(
        _place(),
        record.application.in_([subject.candidate, subject.stable]),
        record.requested_at >= moment(subject.since),
        answered_by_weight(),
        entity=record.entity,
        arm=record.application,
    )
    return select(weighed.arm, weighed.category, func.sum(weighed.weight)).group_by(weighed.arm, weighed.category)


def _relative_latency(subject: Subject) -> Select[Any]:
    """Return the same for callers alone, in buckets away from each caller's own median at the stable before this step.

    A caller without records has the median of the others' medians. Only the newest records are read, however many there
    are: the callers that matter are few, and ask often.
    """
    record = InferenceRequest
    newest = (
        select(record.entity, _place().label("place"))
        .where(
            record.application == subject.stable,
            record.requested_at < moment(subject.since),
            record.requested_at >= moment(subject.since - LOOK_BACK_SECONDS),
            answered_by_weight(),
        )
        .order_by(record.requested_at.desc())
        .limit(MOST_BEFORE)
        .subquery()
        .c
    )
    usual = (
        select(newest.entity, func.percentile_disc(0.5).within_group(newest.place).label("place"))
        .where(newest.entity.is_not(None))
        .group_by(newest.entity)
        .cte("usual")
    )
    middle = select(func.percentile_disc(0.5).within_group(usual.c.place)).scalar_subquery()
    answers = (
        select(record.application, record.entity, (_place() - func.coalesce(usual.c.place, middle)).label("away"))
        .outerjoin(usual, usual.c.entity == record.entity)
        .where(
            record.application.in_([subject.candidate, subject.stable]),
            record.requested_at >= moment(subject.since),
            answered_by_weight(),
            record.entity.is_not(None),
        )
        .subquery()
        .c
    )
    weighed = draws.weighed(answers.away, answers.away.is_not(None), entity=answers.entity, arm=answers.application)
    return select(weighed.arm, weighed.category, func.sum(weighed.weight)).group_by(weighed.arm, weighed.category)


def _place() -> ColumnElement[Any]:
    """Return the bucket of a record's latency."""
    octaves = func.ln(func.greatest(InferenceRequest.latency_ms * 1000, 1.0)) / math.log(2)
    return func.ceil(octaves * BUCKETS_PER_OCTAVE).cast(BigInteger)
