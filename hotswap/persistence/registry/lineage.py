"""What a version was made from, and what was made from it: implements `hotswap.ports.LineageReader`.

A version's parents are given at its registration and never change, and each was registered
before it: so no version can come from itself, however far back.
"""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from hotswap.domain.registry import Lineage, Relative
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import Model, ModelVersion, VersionParent

MAX_RELATIVES = 1_000
"""The most relatives in one direction; the nearest are answered."""


class PostgresLineage:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def of(self, version_id: str) -> Lineage:
        """Return the lineage of a version; it is empty if nobody recorded any."""
        async with self._sessions() as session:
            up = await _reach(session, version_id, VersionParent.version_id, VersionParent.parent_id)
            down = await _reach(session, version_id, VersionParent.parent_id, VersionParent.version_id)
            return Lineage(await _relatives(session, up), await _relatives(session, down))


async def _reach(
    session: AsyncSession, start: str, here: InstrumentedAttribute[str], there: InstrumentedAttribute[str]
) -> dict[str, int]:
    """Return how far each reachable version is, one generation at a time; of two ways the shorter one counts."""
    found: dict[str, int] = {}
    generation, distance = [start], 0
    while generation and len(found) < MAX_RELATIVES:
        distance += 1
        reached = await session.scalars(select(there).where(here.in_(generation)).distinct().order_by(there))
        generation = [each for each in reached if each not in found]
        found.update(dict.fromkeys(generation, distance))
    return dict(list(found.items())[:MAX_RELATIVES])


async def _relatives(session: AsyncSession, distances: dict[str, int]) -> tuple[Relative, ...]:
    parents = await _parents(session, distances)
    rows = await session.execute(
        select(ModelVersion, Model.name)
        .join(Model, Model.model_id == ModelVersion.model_id)
        .where(ModelVersion.version_id.in_(distances))
    )
    found = (
        Relative(name, row.version, row.version_id, distances[row.version_id], parents[row.version_id], row.training)
        for row, name in rows
    )
    return tuple(sorted(found, key=lambda each: (each.distance, each.model, each.version)))


async def _parents(session: AsyncSession, versions: Iterable[str]) -> dict[str, tuple[str, ...]]:
    rows = await session.execute(
        select(VersionParent.version_id, VersionParent.parent_id)
        .where(VersionParent.version_id.in_(versions))
        .order_by(VersionParent.parent_id)
    )
    found: dict[str, tuple[str, ...]] = dict.fromkeys(versions, ())
    for version_id, parent_id in rows:
        found[version_id] += (parent_id,)
    return found
