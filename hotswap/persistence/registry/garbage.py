"""The artifacts that no version refers to, and those that may go: implements `hotswap.ports.ArtifactReferences`.

An artifact is condemned before it is removed, in one transaction that no registration overlaps (`guard`). A later
registration of it is refused, and an artifact that was registered before stays.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import Conflict
from hotswap.persistence.platform import advisory
from hotswap.persistence.platform.advisory import AdvisoryLock
from hotswap.persistence.platform.audit import about_artifact
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import ModelVersion, RemovedArtifact, UploadRow
from hotswap.storage.objects import split_uri

MEMORY = timedelta(hours=1)
"""The time for which a removed artifact can't be registered: longer than a registration takes that had read it before.
"""
LONGEST = "1h"
"""A process that froze while it collects loses its place then."""

STORED, GONE = {"isStored": True}, {"isStored": False}


class PostgresGarbage:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._sessions.begin() as session:
            await session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = '{LONGEST}'"))
            if not await advisory.try_to_take(session, AdvisoryLock.COLLECTING):
                raise Conflict("another garbage collection is running; wait for its end, then try again")
            yield

    async def unreferenced(self, artifact_paths: Collection[str]) -> set[str]:
        async with self._sessions() as session:
            return await _unreferenced(session, artifact_paths)

    async def condemn(self, artifact_paths: Collection[str], *, by: str) -> set[str]:
        async with self._sessions.begin() as session:
            await advisory.take(session, AdvisoryLock.ARTIFACTS)
            left = await _unreferenced(session, artifact_paths)
            await session.execute(delete(RemovedArtifact).where(RemovedArtifact.removed_at < func.now() - 2 * MEMORY))
            if left:
                rows = insert(RemovedArtifact).values([{"artifact_path": each, "removed_by": by} for each in left])
                again = {"removed_at": func.now(), "removed_by": by}
                await session.execute(rows.on_conflict_do_update(index_elements=["artifact_path"], set_=again))
                await session.execute(delete(UploadRow).where(UploadRow.artifact_path.in_(left)))
                session.add_all(
                    about_artifact(each, actor=by, action=AuditAction.COLLECT_GARBAGE, before=STORED, after=GONE)
                    for each in sorted(left)
                )
        return left

    async def forget_upload(self, artifact_path: str, *, by: str) -> None:
        async with self._sessions.begin() as session:
            await session.execute(delete(UploadRow).where(UploadRow.artifact_path == artifact_path))
            session.add(
                about_artifact(artifact_path, actor=by, action=AuditAction.ABORT_UPLOAD, before=STORED, after=GONE)
            )


async def guard(session: AsyncSession, artifact_path: str) -> None:
    """Guard a transaction that refers to an artifact. Raises Conflict for one that was removed lately."""
    await advisory.take_shared(session, AdvisoryLock.ARTIFACTS)
    bucket, key = split_uri(artifact_path)
    gone = await session.scalar(
        select(RemovedArtifact).where(
            RemovedArtifact.artifact_path == f"s3://{bucket}/{key}", RemovedArtifact.removed_at > func.now() - MEMORY
        )
    )
    if gone is not None:
        raise Conflict(
            f"{artifact_path} was removed by garbage collection at {gone.removed_at:%Y-%m-%d %H:%M} UTC;"
            f" push it again, or put it at another key"
        )


async def _unreferenced(session: AsyncSession, artifact_paths: Collection[str]) -> set[str]:
    """Return the paths without a version, compared as S3 knows them: a path may have more slashes after the bucket."""
    plain = func.regexp_replace(ModelVersion.artifact_path, "^s3://([^/]+)/+", r"s3://\1/", "i")
    known = await session.scalars(select(plain).where(plain.in_(artifact_paths)).distinct())
    return set(artifact_paths) - set(known)
