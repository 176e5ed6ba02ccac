"""Recent requests to the stable, and the results of backtests; implements `hotswap.ports.Backtests`.

Of each hour the newest requests are looked at by their keys and a digest, and only those that are chosen are read as a
whole. Left out are requests without answer or without all of their features on record, those that are too long, and
testers'.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, func, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.backtest import BacktestReport, RecordedRequest, RecordedSample, TensorSpec, spread
from hotswap.domain.vocabulary import ArmName, ChosenBy, InferenceStatus, RequestForm
from hotswap.persistence.analysis.arms import moment
from hotswap.persistence.deployments.applications import recording_of
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import Deployment, InferenceRequest, Model
from hotswap.persistence.traffic.fencing import check_under_way

HOURS = 24
POOL = 1_000
"""The newest requests of each hour from which a sample is chosen."""

RECENT = 200
"""The newest requests from which the concurrent reference is chosen every few seconds."""

LONGEST = 200_000
"""The most characters of a request's features or its answers."""
MOST_CHARACTERS = 20_000_000
"""The most characters of a whole sample, which has to fit into a worker's memory; larger requests make it fewer."""

ASKED_ONCE = "the model is registered as one that must not be asked twice, so nothing was asked again"


class _Tensors(msgspec.Struct):
    """Tensors as a replica describes them (`serving.codecs.ParsedRequest`)."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Key:
    at: Any
    record_id: str
    hour: int
    caller: int | None
    digest: str
    size: int


class PostgresBacktests:
    def __init__(self, sessions: Sessions, *, clock: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._clock = clock

    async def sample(self, application: str, *, model: str, most: int) -> RecordedSample:
        async with self._sessions() as session:
            if (reason := await _obstacle(session, application, model)) is not None:
                return RecordedSample(reason=reason)
            keys: dict[str, _Key] = {}
            now = self._clock()
            for hour in range(HOURS):
                since, until = now - 3_600 * (hour + 1), now - 3_600 * hour
                for key in await _keys(session, application, hour, since=since, until=until):
                    keys.setdefault(key.digest, key)
            chosen = spread(list(keys.values()), most, by=(lambda key: key.hour, lambda key: key.caller))
            return RecordedSample(tuple(await _requests(session, _that_fit(chosen))))

    async def recent(self, application: str, *, model: str, since: float, most: int) -> RecordedSample:
        async with self._sessions() as session:
            if (reason := await _obstacle(session, application, model)) is not None:
                return RecordedSample(reason=reason)
            keys = await _keys(session, application, 0, since=since, until=self._clock(), pool=RECENT)
            chosen = spread(keys, most, by=(lambda key: key.caller,))
            return RecordedSample(tuple(await _requests(session, _that_fit(chosen))))

    async def store(self, deployment_id: str, report: BacktestReport) -> None:
        async with self._sessions.begin() as session:
            await check_under_way(session, deployment_id)
            await session.execute(
                update(Deployment)
                .where(Deployment.deployment_id == deployment_id)
                .values(backtest=msgspec.to_builtins(report))
            )


def backtest_of(stored: dict[str, object]) -> BacktestReport:
    """Read a report as `PostgresBacktests.store` wrote it."""
    return msgspec.convert(stored, BacktestReport)


async def _obstacle(session: AsyncSession, application: str, model: str) -> str | None:
    """Return the reason why none of its requests can be asked again."""
    if await session.scalar(select(Model.is_idempotent).where(Model.name == model)) is False:
        return ASKED_ONCE
    gap = (await recording_of(session, application)).gap
    return None if gap is None else f"no record of the stable has all features, so nothing was asked again: {gap}"


async def _keys(
    session: AsyncSession, application: str, hour: int, *, since: float, until: float, pool: int = POOL
) -> list[_Key]:
    """Return the keys of the newest records after `since` and not after `until`, so many `hour`s ago."""
    record = InferenceRequest
    digest = func.md5(func.concat_ws(" ", record.is_batch, record.tensors, record.features))
    size = func.length(record.features) + func.length(record.prediction)
    wanted = (
        select(record.requested_at, record.record_id, record.entity, digest.label("digest"), size.label("size"))
        .where(
            record.application == application,
            record.requested_at > moment(since),
            record.requested_at <= moment(until),
            *_usable(),
        )
        .order_by(record.requested_at.desc())
        .limit(pool)
    )
    return [
        _Key(row.requested_at, row.record_id, hour, row.entity, row.digest, row.size)
        for row in await session.execute(wanted)
    ]


def _that_fit(keys: list[_Key]) -> list[_Key]:
    """Return as many as there is room for, in their order."""
    sizes = accumulate(key.size for key in keys)
    return [key for key, size in zip(keys, sizes, strict=True) if size <= MOST_CHARACTERS]


def _usable() -> tuple[ColumnElement[bool], ...]:
    record = InferenceRequest
    return (
        record.status == InferenceStatus.COMPLETED,
        record.arm != ArmName.SHADOW,
        record.chosen_by != ChosenBy.TESTER,
        record.prediction.is_not(None),
        record.features != "null",
        record.withheld.is_(None),
        func.length(record.features) <= LONGEST,
        func.length(record.prediction) <= LONGEST,
    )


async def _requests(session: AsyncSession, keys: list[_Key]) -> list[RecordedRequest]:
    record = InferenceRequest
    wanted = select(
        record.requested_at,
        record.record_id,
        record.request_id,
        record.is_batch,
        record.form,
        record.tensors,
        record.features,
        record.prediction,
        record.confidence,
        record.entity,
    ).where(tuple_(record.requested_at, record.record_id).in_([(key.at, key.record_id) for key in keys]))
    rows = {row.record_id: row for row in await session.execute(wanted)}
    found = [_request(rows[key.record_id]) for key in keys if key.record_id in rows]
    return [each for each in found if each is not None]


def _request(row: Row[*tuple[Any, ...]]) -> RecordedRequest | None:
    """Return the request; None where its instances and answers don't go together."""
    features, answers = msgspec.json.decode(row.features), msgspec.json.decode(row.prediction)
    instances, answers = (features, answers) if row.is_batch else ([features], [answers])
    if len(instances) != len(answers):
        return None
    tensors = msgspec.json.decode(row.tensors, type=_Tensors) if row.tensors is not None else _Tensors(())
    spelled = RequestForm.BATCH if row.is_batch else RequestForm.INSTANCE  # what older replicas' records tell of it
    return RecordedRequest(
        row.request_id,
        RequestForm(row.form) if row.form is not None else spelled,
        tuple(instances),
        tuple(answers),
        row.requested_at.timestamp(),
        row.confidence,
        row.entity,
        tensors.inputs,
        tensors.outputs,
    )
