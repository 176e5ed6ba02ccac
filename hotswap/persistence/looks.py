"""What every analysis saw and said, look by look; implements `hotswap.ports.Looks`.

Kept as long as its deployment: a decision that can't be shown again is none that anybody need believe.
"""

from dataclasses import asdict

import msgspec
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.analysis import Bake, Look
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import Verdict
from hotswap.persistence.database import Sessions
from hotswap.persistence.tables import AnalysisLook, AnalysisResult


class PostgresLooks:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def record(self, deployment_id: str, bake: Bake, verdict: Verdict) -> None:
        key = {"deployment_id": deployment_id, "step": bake.step, "begun_at": bake.begun_at}
        newest = {"verdict": msgspec.to_builtins(asdict(verdict)), "judged_at": func.now()}
        reference = asdict(bake.reference) if bake.reference is not None else None
        result = insert(AnalysisResult).values(**key, weight=bake.weight, reference=reference, **newest)
        async with self._sessions.begin() as session:
            await session.execute(
                result.on_conflict_do_update(index_elements=["deployment_id", "step", "begun_at"], set_=newest)
            )
            for look in bake.looks:
                seen = insert(AnalysisLook).values(**key, at=look.at, look=asdict(look))
                await session.execute(seen.on_conflict_do_nothing())

    async def past(self, deployment_id: str, *, step: int, begun_at: float) -> list[Look]:
        async with self._sessions() as session:
            return await _looks(session, deployment_id, step, begun_at)

    async def bakes(self, deployment_id: str) -> list[Bake]:
        """Every analysis of a deployment with all that it saw, in the order they were begun."""
        async with self._sessions() as session:
            results = await session.scalars(
                select(AnalysisResult)
                .where(AnalysisResult.deployment_id == deployment_id)
                .order_by(AnalysisResult.begun_at)
            )
            return [
                Bake(
                    row.step,
                    row.begun_at,
                    row.weight,
                    msgspec.convert(row.reference, Counts) if row.reference is not None else None,
                    tuple(await _looks(session, deployment_id, row.step, row.begun_at)),
                )
                for row in results
            ]


async def _looks(session: AsyncSession, deployment_id: str, step: int, begun_at: float) -> list[Look]:
    rows = await session.scalars(
        select(AnalysisLook.look)
        .where(
            AnalysisLook.deployment_id == deployment_id,
            AnalysisLook.step == step,
            AnalysisLook.begun_at == begun_at,
        )
        .order_by(AnalysisLook.at)
    )
    return [msgspec.convert(row, Look) for row in rows]
