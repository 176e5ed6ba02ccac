"""Uploads that were begun, and where they go in S3: implements `hotswap.ports.UploadRecords`.

What somebody asks for twice is one upload, so a command that was killed goes on where it was. Each has a key of its
own that nobody can guess, and is completed once, so nothing that a version may refer to is ever written over.
"""

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from hotswap.domain.artifacts import Upload, UploadRequest
from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import NotFound
from hotswap.persistence.platform.audit import about_artifact
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.tables import UploadRow


class PostgresUploads:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def claim(self, wanted: UploadRequest, *, upload_id: str, artifact_path: str) -> Upload:
        values = {
            "upload_id": upload_id,
            "model": wanted.model,
            "sha256": wanted.sha256,
            "size_bytes": wanted.size_bytes,
            "artifact_path": artifact_path,
            "begun_by": wanted.by,
        }
        key = ["model", "sha256", "begun_by"]
        async with self._sessions.begin() as session:
            await session.execute(insert(UploadRow).values(**values).on_conflict_do_nothing(index_elements=key))
            found = await session.scalar(
                select(UploadRow).where(
                    UploadRow.model == wanted.model,
                    UploadRow.sha256 == wanted.sha256,
                    UploadRow.begun_by == wanted.by,
                )
            )
        assert found is not None
        return plain(Upload, found)

    async def place(self, upload: Upload, *, artifact_path: str, s3_upload_id: str) -> Upload | None:
        async with self._sessions.begin() as session:
            found: UploadRow | None = await session.scalar(
                update(UploadRow)
                .where(
                    UploadRow.upload_id == upload.upload_id,
                    UploadRow.s3_upload_id.is_not_distinct_from(upload.s3_upload_id),
                )
                .values(artifact_path=artifact_path, s3_upload_id=s3_upload_id, begun_at=func.now(), completed_at=None)
                .returning(UploadRow)
            )
        return None if found is None else plain(Upload, found)

    async def one(self, upload_id: str, *, model: str, by: str) -> Upload:
        async with self._sessions() as session:
            row = await session.get(UploadRow, upload_id)
        if row is None or row.model != model or row.begun_by != by:
            raise NotFound(f"{by} has no upload {upload_id} for {model}; `hotswap push` begins one")
        return plain(Upload, row)

    async def complete(self, upload: Upload) -> Upload:
        async with self._sessions.begin() as session:
            done: UploadRow | None = await session.scalar(
                update(UploadRow)
                .where(UploadRow.upload_id == upload.upload_id, UploadRow.completed_at.is_(None))
                .values(completed_at=func.now())
                .returning(UploadRow)
            )
            if done is None:
                return plain(Upload, await session.get_one(UploadRow, upload.upload_id))
            session.add(
                about_artifact(
                    done.artifact_path,
                    actor=done.begun_by,
                    action=AuditAction.PUSH,
                    after={"model": done.model, "sizeBytes": done.size_bytes, "claimedSha256": done.sha256},
                )
            )
            return plain(Upload, done)
