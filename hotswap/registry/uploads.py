"""Artifacts that people send, straight to S3 and part by part. Nothing of an artifact passes through HotSwap.

A request for the same content again goes on with the parts that S3 already has. An upload ends when all parts are there
in the sizes that were agreed on; registration looks at their content. An upload belongs to its caller alone. The team
of the model is checked when the artifact is registered.
"""

import secrets
from dataclasses import dataclass, replace

from hotswap.domain.artifacts import PartsRefused, Upload, UploadedParts, UploadRequest, sizes_of_parts
from hotswap.domain.errors import Conflict, ModelNotFound, ValidationFailed
from hotswap.domain.ids import check_model_name
from hotswap.ports import ArtifactStorage, RegistryReader, UploadRecords, UploadStorage
from hotswap.settings import StorageSettings

PREFIX = "uploads/"
"""The keys of uploads begin with it, so that garbage collection can tell them from what people put elsewhere."""
PART_BYTES = 16 * 1024**2
MOST_NAMED = 20
"""A message names so many missing parts."""


@dataclass(frozen=True, slots=True)
class OfferedPart:
    """A part of the file. `url` is the address to send it to; None says that S3 has it already."""

    number: int
    size_bytes: int
    url: str | None


@dataclass(frozen=True, slots=True)
class UploadOffer:
    """An upload and its parts, in order. A completed upload has none to offer."""

    upload: Upload
    parts: tuple[OfferedPart, ...] = ()


@dataclass(frozen=True, slots=True)
class ArtifactUploads:
    """Begins and completes uploads."""

    settings: StorageSettings
    registry: RegistryReader
    records: UploadRecords
    objects: ArtifactStorage
    storage: UploadStorage

    async def begin(self, wanted: UploadRequest, *, file_name: str) -> UploadOffer:
        """Begin an upload, or go on with the one of the same content. The model may be new.

        Raises ValidationFailed for a file that is too large and for a name that no model can have, and Unavailable.
        """
        limit = self.settings.max_artifact_bytes
        if wanted.size_bytes > limit:
            raise ValidationFailed.of("sizeBytes", f"{wanted.size_bytes:,} bytes are more than the {limit:,} allowed")
        name = await self._model_name(wanted.model)
        path = f"s3://{self.settings.bucket}/{PREFIX}{name}/{secrets.token_hex(16)}/{file_name}"
        upload = await self.records.claim(
            replace(wanted, model=name), upload_id=f"upl-{secrets.token_hex(6)}", artifact_path=path
        )
        parts = await self._parts(upload) if upload.completed_at is None else None
        if parts is None and upload.s3_upload_id is not None and await self._is_stored(upload):
            return UploadOffer(await self.records.complete(upload))
        if parts is not None and _has_other_sizes(upload, parts):
            await self._throw_away(upload)  # not every S3 lets a part be sent again in another size
            parts = None
        if parts is None:
            upload = await self._place(upload, path)
            parts = await self._parts(upload) or {}
        return await self._offer(upload, parts)

    async def complete(self, upload_id: str, *, model: str, by: str) -> Upload:
        """Make one object of the parts. Doing it again is no error.

        Raises NotFound, Unavailable, and Conflict while parts are missing or where S3 has lost them.
        """
        upload = await self.records.one(upload_id, model=await self._model_name(model), by=by)
        if upload.completed_at is not None:
            return upload
        parts = await self._parts(upload)
        if parts is not None:
            if missing := _missing(upload, parts):
                named = ", ".join(map(str, missing[:MOST_NAMED]))
                raise Conflict(f"parts {named} are not there in full; send them first")
            await self._put_together(upload, parts)
        elif not await self._is_stored(upload):
            raise Conflict(f"S3 no longer has what was sent of {upload_id}; `hotswap push` begins anew")
        return await self.records.complete(upload)

    async def _model_name(self, model: str) -> str:
        """Return the name of a model, which may be named by its id, or of one that is still to be registered."""
        try:
            return (await self.registry.model(model)).model.name
        except ModelNotFound:
            return check_model_name(model)

    async def _is_stored(self, upload: Upload) -> bool:
        try:
            return await self.objects.size(upload.artifact_path) == upload.size_bytes
        except ValidationFailed:
            return False

    async def _parts(self, upload: Upload) -> UploadedParts | None:
        """Return the parts that S3 has; None where it has no such upload: not yet, or not any more."""
        if upload.s3_upload_id is None:
            return None
        return await self.storage.parts(upload.artifact_path, upload.s3_upload_id)

    async def _place(self, upload: Upload, path: str) -> Upload:
        s3_upload_id = await self.storage.begin(path)
        placed = await self.records.place(upload, artifact_path=path, s3_upload_id=s3_upload_id)
        if placed is not None:
            return placed
        await self.storage.abort(path, s3_upload_id)
        return await self.records.one(upload.upload_id, model=upload.model, by=upload.begun_by)

    async def _put_together(self, upload: Upload, parts: UploadedParts) -> None:
        try:
            await self.storage.complete(upload.artifact_path, upload.s3_upload_id or "", parts)
        except PartsRefused:
            if await self._is_stored(upload):
                return  # another request was quicker
            await self._throw_away(upload)
            raise Conflict(
                f"S3 doesn't take the parts of {upload.upload_id} together, so they are thrown away; send them again"
            ) from None

    async def _throw_away(self, upload: Upload) -> None:
        await self.storage.abort(upload.artifact_path, upload.s3_upload_id or "")

    async def _offer(self, upload: Upload, parts: UploadedParts) -> UploadOffer:
        missing = _missing(upload, parts)
        addresses = await self.storage.addresses(upload.artifact_path, upload.s3_upload_id or "", missing)
        offered = (OfferedPart(number, size, addresses.get(number)) for number, size in _sizes(upload))
        return UploadOffer(upload, tuple(offered))


def _sizes(upload: Upload) -> list[tuple[int, int]]:
    """Return the number and the size in bytes of each part."""
    return list(enumerate(sizes_of_parts(upload.size_bytes, least=PART_BYTES), 1))


def _missing(upload: Upload, parts: UploadedParts) -> list[int]:
    """Return the numbers of the parts that S3 doesn't have in full."""
    return [number for number, size in _sizes(upload) if number not in parts or parts[number].size != size]


def _has_other_sizes(upload: Upload, parts: UploadedParts) -> bool:
    return any(number in parts and parts[number].size != size for number, size in _sizes(upload))
