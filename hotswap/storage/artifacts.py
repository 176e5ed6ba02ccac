"""S3 for the API, which must not block: implements `hotswap.ports.ArtifactStorage` and `UploadStorage` in threads."""

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from hotswap.domain.artifacts import AbandonedUpload, StoredObject, UploadedParts
from hotswap.storage.calls import StorageCalls
from hotswap.storage.multipart import MultipartUploads
from hotswap.storage.objects import ObjectStorage, split_uri

BATCH = 1_000
"""The number of listed objects that are in memory at a time."""


@dataclass(frozen=True, slots=True)
class S3Artifacts:
    """Implements `hotswap.ports.ArtifactStorage`."""

    objects: ObjectStorage
    calls: StorageCalls

    async def size(self, artifact_path: str) -> int:
        return await self.calls.run(self.objects.size, artifact_path)

    async def listing(self, prefix: str, *, before: datetime) -> AsyncGenerator[list[StoredObject]]:
        found = self.objects.objects(prefix, before=before)
        while batch := await self.calls.run(_next, found):
            yield batch

    async def remove(self, artifact_path: str) -> None:
        await self.calls.run(self.objects.remove, artifact_path)


@dataclass(frozen=True, slots=True)
class S3Uploads:
    """Implements `hotswap.ports.UploadStorage`. Uploads are in the bucket of the settings, whatever a path says."""

    multipart: MultipartUploads
    calls: StorageCalls

    async def begin(self, artifact_path: str) -> str:
        return await self.calls.run(self.multipart.begin, _key(artifact_path))

    async def parts(self, artifact_path: str, s3_upload_id: str) -> UploadedParts | None:
        return await self.calls.run(self.multipart.parts, _key(artifact_path), s3_upload_id)

    async def addresses(self, artifact_path: str, s3_upload_id: str, numbers: Collection[int]) -> Mapping[int, str]:
        return await self.calls.run(self._addresses, _key(artifact_path), s3_upload_id, numbers)

    def _addresses(self, key: str, s3_upload_id: str, numbers: Collection[int]) -> Mapping[int, str]:
        return {number: self.multipart.url(key, s3_upload_id, number) for number in numbers}

    async def complete(self, artifact_path: str, s3_upload_id: str, parts: UploadedParts) -> None:
        await self.calls.run(self.multipart.complete, _key(artifact_path), s3_upload_id, parts)

    async def abort(self, artifact_path: str, s3_upload_id: str) -> None:
        await self.calls.run(self.multipart.abort, _key(artifact_path), s3_upload_id)

    async def abandoned(self, prefix: str, *, before: datetime) -> list[AbandonedUpload]:
        return await self.calls.run(self._abandoned, prefix, before)

    def _abandoned(self, prefix: str, before: datetime) -> list[AbandonedUpload]:
        found = self.multipart.abandoned(prefix, before=before)
        return [AbandonedUpload(self.multipart.uri(key), upload_id, begun_at) for key, upload_id, begun_at in found]


def _next(listing: Iterator[StoredObject]) -> list[StoredObject]:
    return list(islice(listing, BATCH))


def _key(artifact_path: str) -> str:
    return split_uri(artifact_path)[1]
