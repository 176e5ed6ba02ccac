"""Artifacts that people send: straight to S3, part by part, by addresses that are signed here for an hour.

Nothing of an artifact passes through the API. Asking again for the same content goes on with what is there of it, by
what S3 says. It ends when all parts are there in the sizes that were agreed on; what is in them, registration looks at.
An upload is its caller's alone, whose team the model is of is asked when it is registered.
"""

import secrets

from fastapi import APIRouter

from api.context import Parts, Starter, With
from api.idempotency import not_kept
from api.parameters import ModelId, UploadId
from api.routing import GuardedRoute
from hotswap.domain.artifacts import Upload
from hotswap.domain.errors import Conflict, ModelNotFound, ValidationFailed
from hotswap.domain.ids import check_model_name
from hotswap.persistence.registry.uploads import UploadRequest
from hotswap.schemas.requests import BeginUpload
from hotswap.schemas.responses import PartView, UploadView
from hotswap.storage.multipart import PartsRefused, PartsThere, sizes_of_parts
from hotswap.storage.objects import split_uri

PREFIX = "uploads/"
"""What people push lies below it, so that garbage collection can tell it from what they put elsewhere themselves."""
PART_BYTES = 16 * 1024**2

router = APIRouter(prefix="/api/v1/models/{model}/uploads", tags=["artifacts"], route_class=GuardedRoute)


@router.post("", dependencies=[not_kept()])
async def begin_upload(caller: Starter, parts: With, model: ModelId, body: BeginUpload) -> UploadView:
    """Begin to send an artifact, or go on: which parts are wanted, and where to. The model may be new."""
    limit = parts.settings.storage.max_artifact_bytes
    if body.size_bytes > limit:
        raise ValidationFailed.of("sizeBytes", f"{body.size_bytes:,} bytes are more than the {limit:,} allowed")
    name = await _name(parts, model)
    path = f"s3://{parts.settings.storage.bucket}/{PREFIX}{name}/{secrets.token_hex(16)}/{body.file_name}"
    row = await parts.uploads.claim(
        UploadRequest(name, body.sha256, body.size_bytes, caller.subject), artifact_path=path
    )
    there = await _there(parts, row) if row.completed_at is None else None
    if there is None and row.s3_upload_id is not None and await _is_stored(parts, row):
        return _view(await parts.uploads.complete(row))
    if there is not None and any(number in there and there[number].size != size for number, size in _sizes(row)):
        await _throw_away(parts, row)  # not every S3 lets a part be sent again in another size
        there = None
    if there is None:
        row = await _place(parts, row, path)
        there = await _there(parts, row) or {}
    return await parts.storage_calls.run(_offer, parts, row, there)


@router.post("/{upload_id}/complete")
async def complete_upload(caller: Starter, parts: With, model: ModelId, upload_id: UploadId) -> UploadView:
    """Make one object of the parts; refused while any is missing. Again is no error."""
    row = await parts.uploads.one(upload_id, model=await _name(parts, model), by=caller.subject)
    if row.completed_at is None:
        there = await _there(parts, row)
        if there is not None:
            missing = [number for number, size in _sizes(row) if not _is_there(there, number, size)]
            if missing:
                raise Conflict(f"parts {', '.join(map(str, missing[:20]))} are not there in full; send them first")
            await _put_together(parts, row, there)
        elif not await _is_stored(parts, row):
            raise Conflict(f"S3 no longer has what was sent of {upload_id}; `hotswap push` begins anew")
        row = await parts.uploads.complete(row)
    return _view(row)


async def _name(parts: Parts, model: str) -> str:
    """The model's, or what is to be one."""
    try:
        return (await parts.registry.model(model)).model.name
    except ModelNotFound:
        return check_model_name(model)


async def _is_stored(parts: Parts, row: Upload) -> bool:
    try:
        return await parts.storage_calls.run(parts.storage.size, row.artifact_path) == row.size_bytes
    except ValidationFailed:
        return False


async def _there(parts: Parts, row: Upload) -> PartsThere | None:
    """None where there is no such upload in S3: not yet, or not any more."""
    if row.s3_upload_id is None:
        return None
    return await parts.storage_calls.run(parts.multipart.parts, split_uri(row.artifact_path)[1], row.s3_upload_id)


async def _place(parts: Parts, row: Upload, path: str) -> Upload:
    key = split_uri(path)[1]
    s3_upload_id = await parts.storage_calls.run(parts.multipart.begin, key)
    placed = await parts.uploads.place(row, artifact_path=path, s3_upload_id=s3_upload_id)
    if placed is not None:
        return placed
    await parts.storage_calls.run(parts.multipart.abort, key, s3_upload_id)
    return await parts.uploads.one(row.upload_id, model=row.model, by=row.begun_by)


async def _put_together(parts: Parts, row: Upload, there: PartsThere) -> None:
    key = split_uri(row.artifact_path)[1]
    try:
        await parts.storage_calls.run(parts.multipart.complete, key, row.s3_upload_id or "", there)
    except PartsRefused:
        if await _is_stored(parts, row):
            return  # somebody was quicker
        await _throw_away(parts, row)
        raise Conflict(
            f"S3 doesn't take the parts of {row.upload_id} together, so they are thrown away; send them again"
        ) from None


async def _throw_away(parts: Parts, row: Upload) -> None:
    await parts.storage_calls.run(parts.multipart.abort, split_uri(row.artifact_path)[1], row.s3_upload_id or "")


def _offer(parts: Parts, row: Upload, there: PartsThere) -> UploadView:
    key = split_uri(row.artifact_path)[1]
    offered = [
        PartView(
            number=number,
            size_bytes=size,
            url=None if _is_there(there, number, size) else parts.multipart.url(key, row.s3_upload_id or "", number),
        )
        for number, size in _sizes(row)
    ]
    return _view(row, offered)


def _sizes(row: Upload) -> list[tuple[int, int]]:
    return list(enumerate(sizes_of_parts(row.size_bytes, least=PART_BYTES), 1))


def _is_there(there: PartsThere, number: int, size: int) -> bool:
    return number in there and there[number].size == size


def _view(row: Upload, offered: list[PartView] | None = None) -> UploadView:
    return UploadView(
        upload_id=row.upload_id,
        model=row.model,
        artifact_path=row.artifact_path,
        checksum=row.sha256,
        size_bytes=row.size_bytes,
        completed=row.completed_at is not None and offered is None,
        parts=offered or [],
    )
