"""Artifacts that people send: straight to S3, part by part, by addresses that are signed here for an hour."""

from fastapi import APIRouter

from api.context import Starter, With
from api.idempotency import not_kept
from api.parameters import ModelId, UploadId
from api.routing import GuardedRoute
from hotswap.domain.artifacts import UploadRequest
from hotswap.registry.uploads import UploadOffer
from hotswap.schemas.requests import BeginUpload
from hotswap.schemas.responses import PartView, UploadView

router = APIRouter(prefix="/api/v1/models/{model}/uploads", tags=["artifacts"], route_class=GuardedRoute)


@router.post("", dependencies=[not_kept()])
async def begin_upload(caller: Starter, parts: With, model: ModelId, body: BeginUpload) -> UploadView:
    """Begin or continue an upload; the answer says which parts are missing, and where to PUT them.

    The model may be new.
    """
    wanted = UploadRequest(model, body.sha256, body.size_bytes, caller.subject)
    return _view(await parts.uploads.begin(wanted, file_name=body.file_name))


@router.post("/{upload_id}/complete")
async def complete_upload(caller: Starter, parts: With, model: ModelId, upload_id: UploadId) -> UploadView:
    """Complete an upload: its parts become one object. Refused while a part is missing; may be repeated."""
    return _view(UploadOffer(await parts.uploads.complete(upload_id, model=model, by=caller.subject)))


def _view(offer: UploadOffer) -> UploadView:
    upload = offer.upload
    return UploadView(
        upload_id=upload.upload_id,
        model=upload.model,
        artifact_path=upload.artifact_path,
        checksum=upload.sha256,
        size_bytes=upload.size_bytes,
        completed=upload.completed_at is not None and not offer.parts,
        parts=[PartView(number=part.number, size_bytes=part.size_bytes, url=part.url) for part in offer.parts],
    )
