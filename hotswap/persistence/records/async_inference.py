"""Requests that are accepted now and answered later: what was accepted, who asks for it now, and what became of it.

What is accepted is a row, and what a worker takes stays one: it is taken for a lease, which the worker renews while it
asks, so a dead one's requests are due again by themselves, and nothing that was accepted is lost. Who comes too late
with an answer changes nothing: the first one stays. No answer after the deadline counts, whoever looks when.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.errors import Conflict, InferenceNotFound, RateLimited, Unavailable
from hotswap.domain.headers import ENVIRONMENT_HEADER, VERSION_HEADER
from hotswap.domain.inference import AcceptedInference
from hotswap.domain.vocabulary import Environment, InferenceStatus
from hotswap.inference.records import to_json
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.tables import AsyncInference, Now

LEASE = timedelta(seconds=10)

_RECORD = text("""
    SELECT version, is_batch, prediction, confidence, latency_ms, completed_at FROM inference_requests
    WHERE request_id = :request_id AND requested_at >= :since AND model_name = :model
    AND environment = :environment AND version = coalesce(CAST(:version AS text), version)
    AND is_batch = :is_batch AND features = :features
    AND status = 'Completed' AND arm <> 'shadow' ORDER BY requested_at, record_id LIMIT 1
""")
_CLOCKS = timedelta(seconds=5)
"""The difference that the clocks of a replica and of PostgreSQL may have."""


@dataclass(frozen=True, slots=True)
class NewInference:
    request_id: str
    model: str
    is_batch: bool
    headers: dict[str, str]
    body: str
    requested_by: str

    @property
    def fingerprint(self) -> str:
        """The digest by which the request is recognized."""
        asked = json.dumps([self.model, self.is_batch, sorted(self.headers.items()), self.body])
        return hashlib.sha256(asked.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on the time until an answer, and on the requests that wait for one: altogether, and of one caller."""

    deadline: timedelta
    waiting: int
    waiting_of_caller: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A request that is this worker's to ask, for the `attempt`th time."""

    request_id: str
    model: str
    is_batch: bool
    headers: dict[str, str]
    body: str
    attempt: int
    accepted_at: datetime
    seconds_left: float


class PostgresAsyncInference:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def accept(self, new: NewInference, limits: Limits) -> AcceptedInference:
        """Accept a request and return its state; the same request sent again is the first one.

        Raises Conflict where another request has its id, RateLimited and Unavailable where too many wait.
        """
        async with self._sessions.begin() as session:
            if (known := await session.get(AsyncInference, new.request_id)) is None:
                await _check_room(session, new.requested_by, limits)
                await session.execute(
                    insert(AsyncInference)
                    .values(
                        request_id=new.request_id,
                        model_name=new.model,
                        is_batch=new.is_batch,
                        headers=new.headers,
                        body=new.body,
                        fingerprint=new.fingerprint,
                        requested_by=new.requested_by,
                        status=InferenceStatus.PENDING,
                        deadline_at=Now + limits.deadline,
                    )
                    .on_conflict_do_nothing()
                )
                known = await session.get(AsyncInference, new.request_id, populate_existing=True)
        if known is None or (known.fingerprint, known.requested_by) != (new.fingerprint, new.requested_by):
            raise Conflict(
                f"another request has the id {new.request_id}; send this one with an x-request-id of its own"
            )
        return plain(AcceptedInference, known)

    async def find(self, request_id: str, *, of: str | None) -> AcceptedInference:
        """Return the request's state now, also if its time is over and nothing has noted that yet.

        `of` is the caller that it must belong to. Raises InferenceNotFound.
        """
        async with self._sessions() as session:
            found = await session.get(AsyncInference, request_id)
            if found is None or of not in {None, found.requested_by}:
                raise InferenceNotFound(f"there is no asynchronous request {request_id}")
            now = await session.scalar(select(func.now()))
        assert now is not None
        if found.due_at is not None and found.deadline_at <= now:
            return plain(AcceptedInference, found, status=InferenceStatus.TIMEOUT, completed_at=found.deadline_at)
        return plain(AcceptedInference, found)

    async def take(self, limit: int) -> list[Taken]:
        """Take some requests that are due for a lease, the longest waiting first."""
        row = AsyncInference
        due = (
            select(row.request_id)
            .where(row.due_at <= Now, row.deadline_at > Now)
            .order_by(row.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("due")
        )
        async with self._sessions.begin() as session:
            taken = await session.execute(
                update(row)
                .where(row.request_id == due.c.request_id)
                .values(status=InferenceStatus.PROCESSING, attempts=row.attempts + 1, due_at=Now + LEASE)
                .returning(row, func.extract("epoch", row.deadline_at - Now)),
                execution_options={"synchronize_session": False},
            )
            return [_taken(found, float(seconds)) for found, seconds in taken]

    async def renew(self, request_ids: Collection[str]) -> None:
        await self._change(AsyncInference.request_id.in_(request_ids), due_at=Now + LEASE)

    async def give_back(self, request_id: str, wait: timedelta) -> None:
        """Give a request back, to be asked again after `wait`."""
        await self._change(AsyncInference.request_id == request_id, status=InferenceStatus.PENDING, due_at=Now + wait)

    async def finish(self, request_id: str, status: InferenceStatus, answer: str) -> None:
        """Store the end of a request; nothing is changed if it has ended already, or the end comes too late."""
        row = AsyncInference
        await self._end((row.request_id == request_id) & (row.deadline_at > Now), status, answer)

    async def time_out(self) -> None:
        """End those whose time is over."""
        await self._end(AsyncInference.deadline_at <= Now, InferenceStatus.TIMEOUT, None)

    async def recorded(self, taken: Taken) -> str | None:
        """Return the answer that a replica already gave, from its record; None where there is none (yet).

        It must be the record of this very request: callers choose the ids, and two may choose the same. A batch's
        record doesn't keep the confidence of each prediction.
        """
        since = taken.accepted_at - _CLOCKS
        if (question := _question(taken)) is None:
            return None
        named = {"request_id": taken.request_id, "since": since, "model": taken.model, **question}
        async with self._sessions() as session:
            record = (await session.execute(_RECORD, named)).mappings().first()
        if record is None or record["prediction"] is None:
            return None
        prediction, confidence = json.loads(record["prediction"]), record["confidence"]
        answer = {"requestId": taken.request_id, "modelName": taken.model, "version": record["version"]}
        if record["is_batch"]:
            rows = [{"prediction": each, "confidence": confidence} for each in prediction]
            return json.dumps(answer | {"predictions": rows, "totalLatencyMs": record["latency_ms"]})
        return json.dumps(
            answer
            | {
                "prediction": prediction,
                "confidence": confidence,
                "latencyMs": record["latency_ms"],
                "timestamp": record["completed_at"].isoformat(),
            }
        )

    async def _end(self, which: ColumnElement[bool], status: InferenceStatus, answer: str | None) -> None:
        await self._change(which, status=status, answer=answer, body=None, due_at=None, completed_at=Now)

    async def _change(self, which: ColumnElement[bool], **values: Any) -> None:
        """Update those that have not ended."""
        async with self._sessions.begin() as session:
            await session.execute(
                update(AsyncInference).where(which, AsyncInference.due_at.is_not(None)).values(**values),
                execution_options={"synchronize_session": False},
            )


def _question(taken: Taken) -> dict[str, Any] | None:
    """Return the part of its record that identifies a request; None where nothing does."""
    try:
        body = msgspec.json.decode(taken.body)
    except msgspec.DecodeError:
        return None
    features = to_json(body["instances" if taken.is_batch else "features"])
    if features == "null":  # or they weren't recorded
        return None
    return {
        "environment": taken.headers.get(ENVIRONMENT_HEADER, Environment.PRODUCTION),
        "version": taken.headers.get(VERSION_HEADER, body.get("version")),
        "is_batch": taken.is_batch,
        "features": features,
    }


async def _check_room(session: AsyncSession, caller: str, limits: Limits) -> None:
    of_caller = func.count().filter(AsyncInference.requested_by == caller)
    counts = select(func.count(), of_caller).where(AsyncInference.due_at.is_not(None))
    waiting, own = (await session.execute(counts)).one()
    if own >= limits.waiting_of_caller:
        raise RateLimited(
            f"{own} asynchronous requests of {caller} wait for their answers already; try again later", retry_after=5
        )
    if waiting >= limits.waiting:
        raise Unavailable(f"{waiting} asynchronous requests wait for their answers already; try again later")


def _taken(row: AsyncInference, seconds_left: float) -> Taken:
    assert row.body is not None
    return Taken(
        request_id=row.request_id,
        model=row.model_name,
        is_batch=row.is_batch,
        headers={name: str(value) for name, value in row.headers.items()},
        body=row.body,
        attempt=row.attempts,
        accepted_at=row.accepted_at,
        seconds_left=seconds_left,
    )
