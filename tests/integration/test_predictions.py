"""Confidence and numeric predictions of both arms, from real rows: of what the weight chose, and of nothing else."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from hotswap.domain.analysis import JudgeName, Metric, Moments, Source, Subject
from hotswap.domain.errors import Unavailable
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.vocabulary import ArmName, ChosenBy, InferenceStatus
from hotswap.persistence.analysis import arms
from hotswap.persistence.analysis.answers import PostgresAnswers
from hotswap.persistence.analysis.predictions import PostgresPredictions
from hotswap.persistence.platform.database import Sessions
from tests.fixtures.records import encoded, recorded

NOW = datetime.now(UTC).timestamp()
MINE, THEIRS = {"application": "new", "arm": ArmName.CANDIDATE}, {"application": "old"}
ROWS: list[dict[str, Any]] = [
    {**MINE, "confidence": 0.5, "prediction": "2"},
    {**MINE, "confidence": 0.75, "prediction": "-1.5"},
    {**MINE, "confidence": None, "prediction": '"cat"'},
    {**MINE, "confidence": 0.1, "prediction": "9", "chosen_by": ChosenBy.TESTER},
    {**MINE, "confidence": 0.1, "prediction": "9", "requested_at": NOW - 61},
    {**MINE, "confidence": None, "prediction": None, "status": InferenceStatus.FAILED},
    {**MINE, "confidence": None, "prediction": "[9, 9]", "batch": True},
    {**THEIRS, "confidence": 0.25, "prediction": "1e1"},
    {**THEIRS, "confidence": 0.1, "prediction": "9", "fallback_from": "2.0.0"},
    {**THEIRS, "confidence": 1.0, "prediction": "4", "requested_at": NOW - 3_600},
]
AT_HALF = Subject("dep", "Production", "fraud", "new", "old", "2.0.0", "1.0.0", TOTAL_WEIGHT // 2, NOW - 60)


@pytest.fixture(autouse=True)
async def rows(sessions: Sessions, postgres_url: str) -> None:
    made = [encoded(f"r{number}", **{"requested_at": NOW, **each}) for number, each in enumerate(ROWS)]
    await recorded(postgres_url, *made)


async def read(
    sessions: Sessions, source: Source, *, weight: int, bounds: tuple[float, float]
) -> tuple[Moments, Moments]:
    metric = Metric("it", source, JudgeName.MEAN, bounds=bounds)
    reading = await PostgresPredictions(sessions).read(metric, replace(AT_HALF, weight=weight))
    assert reading.candidate is not None
    assert reading.stable is not None
    return reading.candidate, reading.stable


async def test_both_arms_confidence_since_the_weight_was_verified(sessions: Sessions) -> None:
    mine, theirs = await read(sessions, Source.CONFIDENCE, weight=TOTAL_WEIGHT // 2, bounds=(0, 1))
    assert (mine, theirs) == (Moments(2, 1.25, 0.8125), Moments(1, 0.25, 0.0625))


async def test_numbers_are_cut_off_at_their_bounds(sessions: Sessions) -> None:
    mine, theirs = await read(sessions, Source.PREDICTION, weight=TOTAL_WEIGHT // 2, bounds=(-1, 5))
    assert (mine, theirs) == (Moments(2, 1.0, 5.0), Moments(1, 5.0, 25.0))


async def test_at_full_weight_the_stable_is_what_it_was_before(sessions: Sessions) -> None:
    _, theirs = await read(sessions, Source.CONFIDENCE, weight=TOTAL_WEIGHT, bounds=(0, 1))
    assert theirs == Moments(2, 1.25, 1.0625)


async def test_callers_that_keep_their_arm_are_one_draw_each(sessions: Sessions, postgres_url: str) -> None:
    loud = [{**MINE, "confidence": 0.0, "entity": 1} for _ in range(20)]
    more = [{**MINE, "confidence": 0.5, "entity": 2}, {**MINE, "confidence": 1.0, "entity": 2}]
    made = [encoded(f"e{number}", **{"requested_at": NOW, **each}) for number, each in enumerate(loud + more)]
    await recorded(postgres_url, *made)
    metric = Metric("it", Source.CONFIDENCE, JudgeName.MEAN)
    reading = await PostgresPredictions(sessions).read(metric, AT_HALF)
    assert (reading.candidate, reading.stable) == (Moments(24, 2.75, 2.0625), Moments(1, 0.25, 0.0625))
    # Two of nobody in particular (0.5 and 0.75), and the means of two callers (0 and 0.75).
    assert reading.candidate_draws == Moments(4, 2.0, 0.8125 + 0.5625)
    assert reading.stable_draws == Moments(1, 0.25, 0.0625)


async def test_answers_are_counted_with_each_caller_once(sessions: Sessions, postgres_url: str) -> None:
    loud = [{**MINE, "confidence": 0.96, "prediction": '"cat"', "entity": 1} for _ in range(20)]
    made = [encoded(f"a{number}", **{"requested_at": NOW, **each}) for number, each in enumerate(loud)]
    await recorded(postgres_url, *made)
    metric = Metric("it", Source.ANSWERS, JudgeName.COLLAPSE)
    reading = await PostgresAnswers(sessions).read(metric, AT_HALF)
    assert reading.has_callers
    assert reading.candidate_shares["answer"] == {"2": 1.0, "-1.5": 1.0, '"cat"': 2.0}
    assert reading.candidate_shares["size class"] == {"3": 1.0, "-2": 1.0}
    assert reading.candidate_shares["confidence class"] == {"10": 1.0, "15": 1.0, "19": 1.0}
    assert reading.stable_shares["confidence class"] == {"5": 1.0}


async def test_a_figure_may_take_ten_seconds_of_postgresql(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "MOST_SECONDS", 0.05)
    with pytest.raises(Unavailable):
        async with arms.reading(sessions) as session:
            await session.execute(text("SELECT pg_sleep(30)"))
    async with sessions() as session:
        assert await session.scalar(text("SHOW statement_timeout")) == "30s", "of this reading alone"
