"""Observations and verdicts of every analysis; implements `hotswap.ports.Observations`.

Verdicts are kept as long as their deployment, and so is the observation that the last one was made on: what was
decided can always be shown. Those before it are thinned when they are old, and deleted in the end (`retention.py`).
"""

from dataclasses import asdict

import msgspec
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.analysis import BakeRecord, Checkpoint, Observation
from hotswap.domain.proxies import AnswerCounts
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import Verdict
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import AnalysisCheckpoint, AnalysisObservation, AnalysisResult
from hotswap.persistence.traffic.fencing import check_under_way

AT_ONCE = 200
"""Observations that are read together: what else the process does has its turn after so many."""


class PostgresObservations:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def record(
        self, deployment_id: str, bake: BakeRecord, verdict: Verdict, checkpoint: Checkpoint | None = None
    ) -> None:
        key = {"deployment_id": deployment_id, "step": bake.step, "begun_at": bake.begun_at}
        newest = {"verdict": msgspec.to_builtins(asdict(verdict)), "judged_at": func.now()}
        reference = asdict(bake.reference) if bake.reference is not None else None
        result = insert(AnalysisResult).values(**key, weight=bake.weight, reference=reference, **newest)
        async with self._sessions.begin() as session:
            await check_under_way(session, deployment_id)
            await session.execute(
                result.on_conflict_do_update(index_elements=["deployment_id", "step", "begun_at"], set_=newest)
            )
            for look in bake.observations:
                seen = insert(AnalysisObservation).values(**key, at=look.at, look=asdict(look))
                await session.execute(seen.on_conflict_do_nothing())
            if checkpoint is not None:
                kept = asdict(checkpoint)
                statement = insert(AnalysisCheckpoint).values(**key, **kept)
                await session.execute(
                    statement.on_conflict_do_update(
                        constraint="pk_analysis_checkpoints",
                        set_=kept,
                        where=AnalysisCheckpoint.at < checkpoint.at,  # another watch, frozen meanwhile, knows less
                    )
                )

    async def checkpoint(self, deployment_id: str, *, step: int, begun_at: float) -> Checkpoint | None:
        async with self._sessions() as session:
            row = await session.get(AnalysisCheckpoint, (deployment_id, step, begun_at))
            return (
                Checkpoint(row.at, row.judges, msgspec.convert(row.answered, AnswerCounts)) if row is not None else None
            )

    async def past(
        self, deployment_id: str, *, step: int, begun_at: float, after: float | None = None, limit: int
    ) -> list[Observation]:
        async with self._sessions() as session:
            return await _observations(session, deployment_id, step, begun_at, after=after, limit=limit)

    async def bakes(self, deployment_id: str) -> list[BakeRecord]:
        """Return every analysis of a deployment with all its observations, in the order in which they were begun.

        Observations are read a few at a time, so that the process needn't wait for the tens of thousands of a day.
        """
        async with self._sessions() as session:
            results = await session.scalars(
                select(AnalysisResult)
                .where(AnalysisResult.deployment_id == deployment_id)
                .order_by(AnalysisResult.begun_at)
            )
            return [
                BakeRecord(
                    row.step,
                    row.begun_at,
                    row.weight,
                    msgspec.convert(row.reference, Counts) if row.reference is not None else None,
                    tuple(await _all_observations(session, deployment_id, row.step, row.begun_at)),
                    row.thinned,
                )
                for row in results
            ]


async def _all_observations(session: AsyncSession, deployment_id: str, step: int, begun_at: float) -> list[Observation]:
    seen: list[Observation] = []
    while True:
        after = seen[-1].at if seen else None
        some = await _observations(session, deployment_id, step, begun_at, after=after, limit=AT_ONCE)
        seen += some
        if len(some) < AT_ONCE:
            return seen


async def _observations(
    session: AsyncSession, deployment_id: str, step: int, begun_at: float, *, after: float | None, limit: int
) -> list[Observation]:
    query = select(AnalysisObservation.look).where(
        AnalysisObservation.deployment_id == deployment_id,
        AnalysisObservation.step == step,
        AnalysisObservation.begun_at == begun_at,
    )
    if after is not None:
        query = query.where(AnalysisObservation.at > after)
    rows = await session.scalars(query.order_by(AnalysisObservation.at).limit(limit))
    return [msgspec.convert(row, Observation) for row in rows]
