"""S3 in memory, and the records of uploads, as `hotswap.registry` asks them."""

from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from hotswap.domain.artifacts import (
    AbandonedUpload,
    PartsRefused,
    StoredObject,
    Upload,
    UploadedPart,
    UploadedParts,
    UploadRequest,
)
from hotswap.domain.errors import NotFound, ValidationFailed


@dataclass
class FakeArtifactStorage:
    """`batches` is what a listing gives; `taken` counts the batches that were asked for."""

    sizes: dict[str, int] = field(default_factory=dict)
    batches: list[list[StoredObject]] = field(default_factory=list)
    taken: int = 0
    removed: list[str] = field(default_factory=list)

    async def size(self, artifact_path: str) -> int:
        if artifact_path not in self.sizes:
            raise ValidationFailed.of("artifactPath", f"there is no object {artifact_path}")
        return self.sizes[artifact_path]

    async def listing(self, prefix: str, *, before: datetime) -> AsyncGenerator[list[StoredObject]]:
        for batch in self.batches:
            self.taken += 1
            yield [each for each in batch if each.modified_at < before]

    async def remove(self, artifact_path: str) -> None:
        self.removed.append(artifact_path)


@dataclass
class FakeUploadStorage:
    """Uploads by their ids in S3; a completed one becomes an object of `objects`, unless `refuses`."""

    objects: FakeArtifactStorage
    there: dict[str, dict[int, UploadedPart]] = field(default_factory=dict)
    left: list[AbandonedUpload] = field(default_factory=list)
    refuses: bool = False
    aborted: list[str] = field(default_factory=list)

    async def begin(self, artifact_path: str) -> str:
        s3_upload_id = f"s3-{len(self.there) + len(self.aborted) + 1}"
        self.there[s3_upload_id] = {}
        return s3_upload_id

    async def parts(self, artifact_path: str, s3_upload_id: str) -> UploadedParts | None:
        return self.there.get(s3_upload_id)

    async def addresses(self, artifact_path: str, s3_upload_id: str, numbers: Collection[int]) -> Mapping[int, str]:
        return {number: f"{artifact_path}?{s3_upload_id}&{number}" for number in numbers}

    async def complete(self, artifact_path: str, s3_upload_id: str, parts: UploadedParts) -> None:
        if self.refuses:
            raise PartsRefused
        self.objects.sizes[artifact_path] = sum(part.size for part in parts.values())
        del self.there[s3_upload_id]

    async def abort(self, artifact_path: str, s3_upload_id: str) -> None:
        self.aborted.append(s3_upload_id)
        self.there.pop(s3_upload_id, None)

    async def abandoned(self, prefix: str, *, before: datetime) -> list[AbandonedUpload]:
        return [each for each in self.left if each.begun_at < before]

    def send(self, s3_upload_id: str, number: int, size: int) -> None:
        self.there[s3_upload_id][number] = UploadedPart(size, f"tag-{number}")


@dataclass
class FakeUploadRecords:
    """`moved_by` is an upload of S3 to which another request moves the next upload that is placed."""

    now: datetime
    uploads: dict[str, Upload] = field(default_factory=dict)
    moved_by: str | None = None

    async def claim(self, wanted: UploadRequest, *, upload_id: str, artifact_path: str) -> Upload:
        for known in self.uploads.values():
            if (known.model, known.sha256, known.begun_by) == (wanted.model, wanted.sha256, wanted.by):
                return known
        self.uploads[upload_id] = Upload(
            upload_id=upload_id,
            model=wanted.model,
            sha256=wanted.sha256,
            size_bytes=wanted.size_bytes,
            artifact_path=artifact_path,
            s3_upload_id=None,
            begun_by=wanted.by,
            begun_at=self.now,
            completed_at=None,
        )
        return self.uploads[upload_id]

    async def place(self, upload: Upload, *, artifact_path: str, s3_upload_id: str) -> Upload | None:
        if self.moved_by is not None:
            self.uploads[upload.upload_id] = replace(upload, s3_upload_id=self.moved_by)
            return None
        placed = replace(upload, artifact_path=artifact_path, s3_upload_id=s3_upload_id, completed_at=None)
        self.uploads[upload.upload_id] = placed
        return placed

    async def one(self, upload_id: str, *, model: str, by: str) -> Upload:
        found = self.uploads.get(upload_id)
        if found is None or (found.model, found.begun_by) != (model, by):
            raise NotFound(f"{by} has no upload {upload_id} for {model}")
        return found

    async def complete(self, upload: Upload) -> Upload:
        self.uploads[upload.upload_id] = replace(upload, completed_at=self.now)
        return self.uploads[upload.upload_id]
