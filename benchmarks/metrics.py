"""The time for a model's figures on ten million records: an hour of them as the recorder writes it, 700 times over.

The copies are made in the database, records and roll-ups alike, by the same shift in time; one answer is held against
the records themselves. Last of all parts: it leaves some gigabytes behind in the stack's own directory.
"""

import random
import time
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from benchmarks.figure import Figure, percentile
from benchmarks.world import MODEL, World
from hotswap.domain.vocabulary import ArmName, InferenceStatus
from hotswap.inference.records import InferenceRecord, encode_record
from hotswap.persistence.recorder import Writable, make_partitions, write

RECORDS, HOURS = 10_000_000, 700
"""Not quite a month, so that the longest window holds all of them."""

APPLICATION = "bench"
WINDOWS = ("PT1M", "PT1H", "PT90M", "PT24H", "P7D", "P30D")
TIMES = 20

_RECORD_COLUMNS = (
    "requested_at, record_id, request_id, environment, model_name, version, deployment_id, application, arm, attempt, "
    "is_batch, instances, features, prediction, confidence, latency_ms, status, error, completed_at, fallback_from, "
    "chosen_by, entity"
)
_LATER = "%(shift)s * interval '1 hour'"
_COPY_RECORDS = f"""
INSERT INTO inference_requests ({_RECORD_COLUMNS})
SELECT {
    _RECORD_COLUMNS.replace(
        "requested_at, record_id", f"requested_at - {_LATER}, record_id || '-' || %(shift)s"
    ).replace("completed_at", f"completed_at - {_LATER}")
}
FROM inference_requests WHERE application = %(application)s AND requested_at >= %(begin)s
"""  # noqa: S608 - constants only
_ROLLUP_COLUMNS = (
    "environment, model_name, version, requests, failures, refused, latency_sum, latency, confidence_count, "
    "confidence_sum, confidence_squares, prediction_count, prediction_sum, prediction_squares"
)
_COPY_ROLLUPS = f"""
INSERT INTO record_rollups (application, arm, width_seconds, at, {_ROLLUP_COLUMNS})
SELECT application, arm, width_seconds, at - {_LATER}, {_ROLLUP_COLUMNS}
FROM record_rollups WHERE application = %(application)s AND at >= %(begin)s AND width_seconds = ANY(%(widths)s)
"""  # noqa: S608 - constants only


def measure(world: World) -> list[Figure]:
    written = world.wait_for(_fill(world))
    worst: tuple[float, str] = (0.0, "")
    for window in WINDOWS:
        taken = []
        for _ in range(TIMES):
            begun = time.perf_counter()
            answer = world.stack.http.get(f"/api/v1/models/{MODEL}/metrics", params={"window": window})
            taken.append((time.perf_counter() - begun) * 1000)
            answer.raise_for_status()
        worst = max(worst, (percentile(taken, 95), window))
    total = answer.json()["total"]
    if total < written:
        raise RuntimeError(f"the figures say {total} answers in a month, and the records {written}")
    return [
        Figure(
            name="a model's figures on ten million records",
            measured=worst[0],
            bar=200,
            unit="ms",
            beside=f"p95 of the slowest window ({worst[1]}) of {', '.join(WINDOWS)}; {written:,} records",
        )
    ]


async def _fill(world: World) -> int:
    """Write the records, and return how many there are."""
    url = world.stack.control["HOTSWAP_POSTGRES__URL"].replace("+psycopg", "")
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as database:
        await database.execute("SET synchronous_commit = off")
        await make_partitions(database, _days(begin))
        await write(database, _hour(world, begin))
        own = {"application": APPLICATION, "begin": begin}
        for shift in range(1, HOURS):
            widths = [3600, 60, 1] if shift < 24 else [3600, 60]
            at = {**own, "shift": shift, "widths": widths}
            await database.execute(_COPY_RECORDS, at)
            await database.execute(_COPY_ROLLUPS, at)
        await database.execute("ANALYZE")
        counted = await database.execute(
            "SELECT count(*) FROM inference_requests WHERE application = %(application)s AND requested_at >= %(begin)s",
            {**own, "begin": begin - timedelta(days=31)},
        )
        row: Any = await counted.fetchone()
        return int(row[0])


def _hour(world: World, begin: datetime) -> list[Writable]:
    draw = random.Random(1)  # noqa: S311 - figures, no secrets
    number = RECORDS // HOURS + 1
    return [
        Writable.of(
            encode_record(
                InferenceRecord(
                    record_id=f"bench-{each}",
                    request_id=str(uuid.UUID(int=each)),
                    environment=world.active.environment,
                    model=MODEL,
                    version=world.active.version,
                    deployment_id=world.active.deployment_id,
                    application=APPLICATION,
                    arm=ArmName.STABLE,
                    attempt=1,
                    batch=False,
                    instances=1,
                    features="[0.1, 0.2, 0.3]",
                    prediction=str(draw.randrange(2)),
                    confidence=draw.random(),
                    latency_ms=draw.lognormvariate(1, 1),
                    status=InferenceStatus.COMPLETED,
                    error=None,
                    requested_at=begin.timestamp() + 3600 * each / number,
                    completed_at=begin.timestamp() + 3600 * each / number + 0.01,
                )
            )
        )
        for each in range(number)
    ]


def _days(begin: datetime) -> list[date]:
    return [(begin - timedelta(days=each)).date() for each in range(HOURS // 24 + 2)]
