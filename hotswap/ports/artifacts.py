"""Artifacts in S3, and the uploads that bring them there. A path is `s3://bucket/key`.

A call of S3 raises Unavailable where S3 doesn't answer, or where too many calls wait for it already.
"""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from hotswap.domain.artifacts import AbandonedUpload, StoredObject, Upload, UploadedParts, UploadRequest


class ArtifactStorage(Protocol):
    """Objects in S3."""

    async def size(self, artifact_path: str) -> int:
        """Return an object's size in bytes. Raises ValidationFailed where it isn't there."""

    def listing(self, prefix: str, *, before: datetime) -> AsyncGenerator[list[StoredObject]]:
        """List the objects of the bucket below `prefix` that were written before then, batch by batch.

        A batch is asked of S3 when it is wanted, so memory holds one, however many objects there are.
        """

    async def remove(self, artifact_path: str) -> None:
        """Remove an object; one that is gone already is no error."""


class UploadStorage(Protocol):
    """Uploads in S3, by parts that people send there themselves."""

    async def begin(self, artifact_path: str) -> str:
        """Begin an upload, and return its id in S3."""

    async def parts(self, artifact_path: str, s3_upload_id: str) -> UploadedParts | None:
        """Return the parts that S3 has; None where S3 knows no such upload (any more)."""

    async def addresses(self, artifact_path: str, s3_upload_id: str, numbers: Collection[int]) -> Mapping[int, str]:
        """Return the address to which each of these parts can be sent by PUT, for an hour and by anybody."""

    async def complete(self, artifact_path: str, s3_upload_id: str, parts: UploadedParts) -> None:
        """Make one object of the parts. Raises PartsRefused where S3 has other parts, or none any more."""

    async def abort(self, artifact_path: str, s3_upload_id: str) -> None:
        """Throw the parts away; an upload that is gone already is no error."""

    async def abandoned(self, prefix: str, *, before: datetime) -> list[AbandonedUpload]:
        """Return uploads that were begun before then and have not ended; at most 1,000."""


class UploadRecords(Protocol):
    """Uploads on record: who sends what for which model, and where it goes."""

    async def claim(self, wanted: UploadRequest, *, upload_id: str, artifact_path: str) -> Upload:
        """Return the caller's upload of this content; a new one gets this id and this place."""

    async def place(self, upload: Upload, *, artifact_path: str, s3_upload_id: str) -> Upload | None:
        """Move an upload to another place, by a new upload of S3; None where somebody else has moved it meanwhile."""

    async def one(self, upload_id: str, *, model: str, by: str) -> Upload:
        """Return an upload. Raises NotFound, also for another caller's upload."""

    async def complete(self, upload: Upload) -> Upload:
        """Note that its object is there. Doing it again is no error."""


class ArtifactReferences(Protocol):
    """Which artifacts versions refer to, and which may be removed because none does."""

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Let one process at a time into the block. Raises Conflict where another is inside already."""

    async def unreferenced(self, artifact_paths: Collection[str]) -> set[str]:
        """Return the paths that no version refers to."""

    async def condemn(self, artifact_paths: Collection[str], *, by: str) -> set[str]:
        """Return those of at most 1,000 paths that may be removed now: from here on nothing can refer to them."""

    async def forget_upload(self, artifact_path: str, *, by: str) -> None:
        """Delete the record of an upload that S3 has thrown away."""
