"""Routes by which people curate models and versions: teams, aliases, cards, archiving and deprecation.

Nothing is deleted, and active versions go on serving.
"""

from fastapi import APIRouter

from api.auth import ENGINEERS, admitted_in
from api.context import Admin, Engineer, Maker, Reader, With
from api.parameters import AliasName, ModelId, VersionId
from api.presentation import card_view, model_view, version_view
from api.routing import GuardedRoute
from hotswap.schemas.requests import ChangeModel, Deprecate, GiveAlias, Say, WriteCard
from hotswap.schemas.responses import CardView, ModelView, VersionView

router = APIRouter(prefix="/api/v1/models", tags=["models"], route_class=GuardedRoute)


@router.patch("/{model}")
async def change_model(caller: Engineer, parts: With, model: ModelId, body: ChangeModel) -> ModelView:
    """Change the description, owner, team or tags of a model, or what its records keep; the rest stays as it is.

    Only an engineer of both teams can give it to another team. What records keep of the features (`recordFeatures`,
    `recordSampleRate`, `dropFields`) holds for deployments that are opened from then on; replicas that run keep theirs.
    """
    changes = body.model_dump(exclude_unset=True)
    if "team" in changes:
        admitted_in(body.team, caller, ENGINEERS)
    await parts.curation.change(model, changes, by=caller.subject)
    return model_view(await parts.registry.model(model))


@router.put("/{model}/aliases/{alias}")
async def give_alias(caller: Engineer, parts: With, model: ModelId, alias: AliasName, body: GiveAlias) -> ModelView:
    """Give an alias to a version; a version that had it loses it."""
    await parts.curation.give_alias(model, alias, body.version, by=caller.subject)
    return model_view(await parts.registry.model(model))


@router.delete("/{model}/aliases/{alias}")
async def take_alias(caller: Engineer, parts: With, model: ModelId, alias: AliasName) -> ModelView:
    """Remove an alias."""
    await parts.curation.take_alias(model, alias, by=caller.subject)
    return model_view(await parts.registry.model(model))


@router.get("/{model}/versions/{version}/card")
async def get_card(_: Reader, parts: With, model: ModelId, version: VersionId) -> CardView:
    """Return the card of a version: its purpose, its training data, and its known limits."""
    return card_view(await parts.registry.version(model, version))


@router.put("/{model}/versions/{version}/card")
async def write_card(caller: Maker, parts: With, model: ModelId, version: VersionId, body: WriteCard) -> CardView:
    """Replace the card of a version, in Markdown; the audit log keeps the old text."""
    await parts.curation.write_card(model, version, body.text, by=caller.subject)
    return card_view(await parts.registry.version(model, version))


@router.post("/{model}/versions/{version}/deprecate")
async def deprecate_version(
    caller: Engineer, parts: With, model: ModelId, version: VersionId, body: Deprecate
) -> VersionView:
    """Deprecate a version: no new deployment of it can start, but a rollback can still return to it."""
    await parts.curation.deprecate(model, version, reason=body.reason, by=caller.subject)
    return version_view(await parts.registry.version(model, version))


@router.post("/{model}/versions/{version}/restore")
async def restore_version(
    caller: Engineer, parts: With, model: ModelId, version: VersionId, body: Say | None = None
) -> VersionView:
    """Take a deprecated version back into use."""
    await parts.curation.restore_version(model, version, reason=body.reason if body else None, by=caller.subject)
    return version_view(await parts.registry.version(model, version))


@router.delete("/{model}")
async def archive_model(caller: Admin, parts: With, model: ModelId, body: Say | None = None) -> ModelView:
    """Archive a model: lists leave it out, and nothing new of it can start.

    Refused while a version of it serves or a deployment of it is under way.
    """
    await parts.curation.archive(model, reason=body.reason if body else None, by=caller.subject)
    return model_view(await parts.registry.model(model))


@router.post("/{model}/restore")
async def restore_model(caller: Admin, parts: With, model: ModelId, body: Say | None = None) -> ModelView:
    """Take an archived model back into use."""
    await parts.curation.restore_model(model, reason=body.reason if body else None, by=caller.subject)
    return model_view(await parts.registry.model(model))
