"""Callers that keep their arm, counted from real rows: each once, whatever they asked and whoever answered."""

from dataclasses import replace
from datetime import UTC, datetime

from hotswap.domain.analysis import RESCUES, Entities, Subject
from hotswap.domain.vocabulary import ArmName, ChosenBy, InferenceStatus
from hotswap.persistence.analysis.sticky_callers import PostgresStickyCallers
from hotswap.persistence.platform.database import Sessions
from tests.fixtures.records import encoded, recorded

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
    seen: list[dict[str, object]] = [
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
    assert _without_latency(await _counted(seen, sessions, postgres_url)) == Entities(
        candidate=5,
        stable=2,
        candidate_failed=3,
        stable_failed=1,
        candidate_refused=1,
        candidate_failures=3,
        stable_failures=1,
    )


async def test_pairs_tell_whose_doing_a_refusal_is_and_whom_the_candidate_never_answers(
    sessions: Sessions, postgres_url: str
) -> None:
    rescue = {**THEIRS, "fallback_from": "2.0.0"}
    seen: list[dict[str, object]] = []
    for number in range(RESCUES):
        seen += [{**MINE, "entity": 1, "request_id": f"a{number}", **FAILED}]
        seen += [{**rescue, "entity": 1, "request_id": f"a{number}"}]
        seen += [{**rescue, "entity": 2, "request_id": f"b{number}"}]  # its replica died, and left no record
    seen += [{**rescue, "entity": 3, "request_id": f"c{number}"} for number in range(RESCUES)] + [{**MINE, "entity": 3}]
    seen += [{**MINE, "entity": 4, "request_id": "d", **REFUSED}, {**rescue, "entity": 4, "request_id": "d"}]
    seen += [{**MINE, "entity": 5, "request_id": "e", **REFUSED}, {**rescue, "entity": 5, "request_id": "e", **REFUSED}]
    seen += [{**THEIRS, "entity": 6, **REFUSED}]
    assert _without_latency(await _counted(seen, sessions, postgres_url)) == Entities(
        candidate=5,
        stable=1,
        candidate_failed=3,
        candidate_refused=1,
        stable_refused=1,
        candidate_rescued=2,
        candidate_failures=3 * RESCUES,
        stable_failures=0,
    )


def _without_latency(found: Entities) -> Entities:
    nothing: dict[str, float] = {}
    return replace(
        found, candidate_latency=nothing, stable_latency=nothing, candidate_relative=nothing, stable_relative=nothing
    )


async def _counted(seen: list[dict[str, object]], sessions: Sessions, postgres_url: str) -> Entities:
    made = [encoded(f"r{number}", **{"requested_at": NOW, **each}) for number, each in enumerate(seen)]
    await recorded(postgres_url, *made)
    return await PostgresStickyCallers(sessions).entities(SUBJECT)


async def test_latency_has_each_caller_once_and_each_answer_to_nobody(sessions: Sessions, postgres_url: str) -> None:
    loud: list[dict[str, object]] = [{**MINE, "entity": 1, "latency_ms": 40.0} for _ in range(30)]
    others: list[dict[str, object]] = [
        {**MINE, "entity": 2, "latency_ms": 5.0},
        {**MINE, "entity": 2, "latency_ms": 5.0},
        {**MINE, "entity": 2, "latency_ms": 40.0},
        {**MINE, "entity": 2, "latency_ms": 40.0},
        {**MINE, "entity": None, "latency_ms": 5.0},
        {**MINE, "entity": None, "latency_ms": 5.0},
        {**MINE, "entity": 3, "latency_ms": 900.0, **FAILED},
        {**THEIRS, "entity": 4, "latency_ms": 0.0},
        {**THEIRS, "entity": 5, "fallback_from": "2.0.0"},
    ]
    found = await _counted(loud + others, sessions, postgres_url)
    mine = {float(bound): weight for bound, weight in found.candidate_latency.items()}
    assert sorted(mine.values()) == [1.5, 2.5]
    assert [5_000 <= min(mine) < 5_400, 40_000 <= max(mine) < 42_500] == [True, True]
    assert sum(found.stable_latency.values()) == 1


async def test_callers_are_compared_with_what_they_met_at_the_stable_before_the_step(
    sessions: Sessions, postgres_url: str
) -> None:
    before = {**THEIRS, "requested_at": NOW - 120, "latency_ms": 40.0}
    seen: list[dict[str, object]] = [
        {**MINE, "entity": 1, "latency_ms": 40.0},
        {**MINE, "entity": 1, "latency_ms": 40.0},
        {**MINE, "entity": 1, "latency_ms": 40.0},
        {**MINE, "entity": 1, "latency_ms": 160.0},
        {**MINE, "entity": None, "latency_ms": 40.0},
        {**THEIRS, "entity": 2, "latency_ms": 5.0},
        {**THEIRS, "entity": 4, "latency_ms": 10.0},  # of whom nothing is on record: the middle of 5, 10 and 40
        *({**before, "entity": 1} for _ in range(3)),
        {**before, "entity": 1, "latency_ms": 5.0},
        {**before, "entity": 2, "latency_ms": 5.0},
        {**before, "entity": 3, "latency_ms": 10.0},
        {**before, "entity": None, "latency_ms": 900.0},
    ]
    left_out = {**before, "latency_ms": 900.0}
    for number in range(8):
        seen += [{**left_out, "entity": 1, **FAILED}, {**left_out, "entity": 1, "chosen_by": ChosenBy.TESTER}]
        seen += [{**left_out, "entity": 1, "fallback_from": "1.5.0"}]
        seen += [{**left_out, "entity": 1, "requested_at": NOW - 90_000 - number}]
        seen += [{**MINE, "entity": 1, "latency_ms": 900.0, "requested_at": NOW - 120}]
    found = await _counted(seen, sessions, postgres_url)
    mine = {float(bound): weight for bound, weight in found.candidate_relative.items()}
    assert [900 < min(mine) < 1_100, 3_700 < max(mine) < 4_300] == [True, True]
    assert (mine[min(mine)], mine[max(mine)]) == (0.75, 0.25)
    [(usual, weight)] = found.stable_relative.items()
    assert (900 < float(usual) < 1_100, weight) == (True, 2.0)


async def test_without_a_past_callers_are_compared_with_nothing(sessions: Sessions, postgres_url: str) -> None:
    found = await _counted([{**MINE, "entity": 1}, {**THEIRS, "entity": 2}], sessions, postgres_url)
    assert found.candidate_relative == found.stable_relative == {}
