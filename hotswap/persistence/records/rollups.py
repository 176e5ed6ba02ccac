"""Roll-ups: what records add up to by the second, the minute and the hour, so that figures of any time are a short sum.

They are written in the transaction that inserts the records, from the rows that it really inserted: a batch that is
repeated counts once, and a figure never says more or less than the records do. Every width is written at once, so that
nothing has to be rolled up later. Rows only ever grow by addition, in the order of their keys: recorders beside each
other neither lose an update nor wait for each other in a ring.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from psycopg import AsyncCursor
from psycopg.types.json import Jsonb

from hotswap.domain.errors import Conflict, SchemaValidationFailed, ValidationFailed
from hotswap.domain.vocabulary import InferenceStatus
from hotswap.persistence.records.sketches import bin_of

HOUR, MINUTE, SECOND = 3600, 60, 1
WIDTHS = (HOUR, MINUTE, SECOND)

_REFUSALS = frozenset({ValidationFailed.code, SchemaValidationFailed.code, Conflict.code})
"""The beginnings of errors that are the request's own; every other failure is the model's."""

MOST = 1e100
"""The largest figure; a larger one means nothing, and its square would make a sum infinite."""

RETURNED = (
    "application, arm, environment, model_name, version, requested_at, status, error, latency_ms, confidence, "
    "prediction, is_batch"
)
"""The columns of an inserted record that are passed on to `add`, in this order."""

_SUMS = (
    "requests",
    "failures",
    "refused",
    "latency_sum",
    "confidence_count",
    "confidence_sum",
    "confidence_squares",
    "prediction_count",
    "prediction_sum",
    "prediction_squares",
)
_KEY = ("application", "arm", "width_seconds", "at")
_COLUMNS = (*_KEY, "environment", "model_name", "version", *_SUMS, "latency")
_UPSERT = f"""
INSERT INTO record_rollups AS kept ({", ".join(_COLUMNS)}) VALUES ({", ".join(["%s"] * len(_COLUMNS))})
ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET
{", ".join(f"{name} = kept.{name} + excluded.{name}" for name in _SUMS)},
latency = (
    SELECT coalesce(jsonb_object_agg(bin, count), '{{}}')
    FROM (
        SELECT bin, sum(count::bigint) AS count
        FROM (SELECT * FROM jsonb_each_text(kept.latency) UNION ALL SELECT * FROM jsonb_each_text(excluded.latency))
            AS each_of_both(bin, count)
        GROUP BY bin
    ) AS merged
)
"""  # noqa: S608 - constants only


class Piece(NamedTuple):
    """Roll-ups of one width that begin at `begin` or later and before `end` (Unix time, seconds)."""

    width: int
    begin: int
    end: int


def pieces(begin: int, end: int, widths: tuple[int, ...] = WIDTHS) -> list[Piece]:
    """Return the fewest roll-ups that are exactly this time: hours inside of it, minutes and seconds at its ends."""
    if begin >= end:
        return []
    width, *finer = widths
    if not finer:
        return [Piece(width, begin, end)]
    first, last = -(-begin // width) * width, end // width * width
    if first >= last:
        return pieces(begin, end, tuple(finer))
    return [*pieces(begin, first, tuple(finer)), Piece(width, first, last), *pieces(last, end, tuple(finer))]


@dataclass(slots=True)
class _Sums:
    requests: int = 0
    failures: int = 0
    refused: int = 0
    latency_sum: float = 0.0
    confidence: list[float] = field(default_factory=list)
    prediction: list[float] = field(default_factory=list)
    latency: Counter[str] = field(default_factory=Counter)

    def columns(self) -> tuple[Any, ...]:
        moments = [
            figure
            for values in (self.confidence, self.prediction)
            for figure in (len(values), math.fsum(values), math.fsum(value * value for value in values))
        ]
        return (self.requests, self.failures, self.refused, self.latency_sum, *moments, Jsonb(dict(self.latency)))


async def add(cursor: AsyncCursor[Any], records: Iterable[tuple[Any, ...]]) -> None:
    """Add inserted records (their columns as `RETURNED`) to the roll-ups, in the cursor's own transaction."""
    sums: dict[tuple[Any, ...], _Sums] = {}
    for application, arm, environment, model, version, requested_at, *answer in records:
        for width in WIDTHS:
            begin = int(requested_at.timestamp() // width * width)
            key = (application, arm, width, begin, environment, model, version)
            _count(sums.setdefault(key, _Sums()), _Answer(*answer))
    rows = [
        (application, arm, width, datetime.fromtimestamp(begin, UTC), *place, *sums[key].columns())
        for key in sorted(sums)
        for application, arm, width, begin, *place in [key]
    ]
    if rows:
        await cursor.executemany(_UPSERT, rows)


class _Answer(NamedTuple):
    """The counted part of a record, in the order of `RETURNED`."""

    status: str
    error: str | None
    latency_ms: float
    confidence: float | None
    prediction: str | None
    is_batch: bool


def _count(into: _Sums, answer: _Answer) -> None:
    into.requests += 1
    if answer.status == InferenceStatus.FAILED and (answer.error or "").partition(":")[0] in _REFUSALS:
        into.refused += 1
    elif answer.status in {InferenceStatus.FAILED, InferenceStatus.TIMEOUT}:
        into.failures += 1
    if (latency_bin := bin_of(answer.latency_ms)) is not None:
        into.latency[latency_bin] += 1
        into.latency_sum += answer.latency_ms
    into.confidence += _figures([answer.confidence])
    into.prediction += _figures(_values(answer.prediction, is_batch=answer.is_batch))


def _values(prediction: str | None, *, is_batch: bool) -> list[Any]:
    if prediction is None:
        return []
    try:
        value = json.loads(prediction)
    except (ValueError, RecursionError):  # such as what a client's text was changed to, for PostgreSQL to take it
        return []
    return value if is_batch and isinstance(value, list) else [value]


def _figures(values: Iterable[Any]) -> list[float]:
    return [
        float(value)
        for value in values
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST
    ]
