"""Callers that keep their arm, counted from real rows: each once, whatever they asked and whoever answered."""

from datetime import UTC, datetime

import psycopg

from hotswap.domain.analysis import Entities, Subject
from hotswap.domain.vocabulary import ArmName, ChosenBy, InferenceStatus
from hotswap.persistence import recorder
from hotswap.persistence.census import PostgresCensus
from hotswap.persistence.database import Sessions
from hotswap.records import decode_record
from tests.fixtures.records import encoded

NOW = datetime.now(UTC).timestamp()
SUBJECT = Subject("dep", "Production", "fraud", "new", "old", "2.0.0", "1.0.0", 5_000, NOW - 60)
MINE = {"application": "new", "arm": ArmName.CANDIDATE}
THEIRS = {"application": "old"}
FAILED = {"status": InferenceStatus.FAILED, "error": "INFERENCE_ERROR: the model failed"}
LATE = {"status": InferenceStatus.TIMEOUT, "error": "TIMEOUT: took 9 ms"}
REFUSED = {"status": InferenceStatus.FAILED, "error": "SCHEMA_VALIDATION_ERROR: features"}


async def test_a_caller_counts_once_and_has_failed_where_anything_of_it_did(
    sessions: Sessions, postgres_url: str
) -> None:
    seen = [
        {**MINE, "entity": 1},
        {**MINE, "entity": 1},
        {**MINE, "entity": 2, **FAILED},
        {**THEIRS, "entity": 2, "fallback_from": "2.0.0"},
        {**THEIRS, "entity": 3, "fallback_from": "2.0.0"},
        {**MINE, "entity": 4, **REFUSED},
        {**MINE, "entity": 5, **LATE},
        {**THEIRS, "entity": 6},
        {**THEIRS, "entity": 7, **FAILED},
        {**THEIRS, "entity": 7},
        {**MINE, "entity": None, **FAILED},
        {**MINE, "entity": 8, "chosen_by": ChosenBy.TESTER, **FAILED},
        {**MINE, "entity": 9, "requested_at": NOW - 61},
        {"application": "other", "entity": 10},
    ]
    rows = [
        recorder.Writable(b"", recorder._row(decode_record(encoded(f"r{number}", **{"requested_at": NOW, **each}))))
        for number, each in enumerate(seen)
    ]
    url = postgres_url.replace("postgresql+psycopg://", "postgresql://")
    async with await psycopg.AsyncConnection.connect(url) as database:
        assert await recorder.write(database, rows) == []
        await database.commit()
    assert await PostgresCensus(sessions).entities(SUBJECT) == Entities(
        candidate=5, stable=2, candidate_failed=3, stable_failed=1
    )
