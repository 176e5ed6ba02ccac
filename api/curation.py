"""Taking models and versions out of use, and back: nothing is deleted, and what serves goes on serving."""

from fastapi import APIRouter

from api.auth import GuardedRoute
from api.context import Admin, Engineer, With
from api.presentation import model_view, version_view
from api.schemas import Deprecate, ModelId, Say, VersionId
from hotswap.views import ModelView, VersionView

router = APIRouter(prefix="/api/v1/models", tags=["models"], route_class=GuardedRoute)


@router.post("/{model}/versions/{version}/deprecate")
async def deprecate_version(
    caller: Engineer, parts: With, model: ModelId, version: VersionId, body: Deprecate
) -> VersionView:
    """No new deployment of it from now on; it can still be gone back to."""
    await parts.curation.deprecate(model, version, why=body.reason, by=caller.subject)
    return version_view(await parts.queries.version(model, version))


@router.post("/{model}/versions/{version}/restore")
async def restore_version(
    caller: Engineer, parts: With, model: ModelId, version: VersionId, body: Say | None = None
) -> VersionView:
    """Take a deprecated version back into use."""
    await parts.curation.restore_version(model, version, why=body.reason if body else None, by=caller.subject)
    return version_view(await parts.queries.version(model, version))


@router.delete("/{model}")
async def archive_model(caller: Admin, parts: With, model: ModelId, body: Say | None = None) -> ModelView:
    """Out of the lists, and nothing new of it; refused while anything of it serves or is under way."""
    await parts.curation.archive(model, why=body.reason if body else None, by=caller.subject)
    return model_view(await parts.queries.model(model))


@router.post("/{model}/restore")
async def restore_model(caller: Admin, parts: With, model: ModelId, body: Say | None = None) -> ModelView:
    """Take an archived model back into use."""
    await parts.curation.restore_model(model, why=body.reason if body else None, by=caller.subject)
    return model_view(await parts.queries.model(model))
