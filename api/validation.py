"""Routes for a version's validation report, and for an Admin's override of failed checks."""

from fastapi import APIRouter

from api.context import Admin, Reader, With
from api.parameters import ModelId, VersionId
from api.routing import GuardedRoute
from hotswap.deployments.views import validation_view
from hotswap.registry.validation import VersionValidation
from hotswap.schemas.requests import OverrideValidation, Say
from hotswap.schemas.responses import OverrideView, VersionValidationView

router = APIRouter(
    prefix="/api/v1/models/{model}/versions/{version}/validation", tags=["models"], route_class=GuardedRoute
)


@router.get("")
async def get_validation(_: Reader, parts: With, model: ModelId, version: VersionId) -> VersionValidationView:
    """Return the newest validation report of a version, and the override from its next deployment on."""
    return _view(await parts.validations.latest(model, version))


@router.post("/override")
async def override_validation(
    caller: Admin, parts: With, model: ModelId, version: VersionId, body: OverrideValidation
) -> VersionValidationView:
    """Override failed checks from the version's next deployment on: schemas, memory, latency or accuracy only."""
    return _view(
        await parts.validations.override(
            model, version, checks=tuple(body.checks), reason=body.reason, by=caller.subject
        )
    )


@router.delete("/override")
async def withdraw_override(
    caller: Admin, parts: With, model: ModelId, version: VersionId, body: Say | None = None
) -> VersionValidationView:
    """End the override of a version's validation."""
    reason = body.reason if body else None
    return _view(await parts.validations.withdraw(model, version, reason=reason, by=caller.subject))


def _view(seen: VersionValidation) -> VersionValidationView:
    latest, override = seen.latest, seen.latest.override
    return VersionValidationView(
        model=seen.version.model,
        version=seen.version.version,
        deployment_id=latest.deployment_id,
        at=latest.at,
        report=validation_view(latest.report) if latest.report is not None else None,
        override=OverrideView(
            checks=override.checks, by=override.created_by, reason=override.reason, at=override.created_at
        )
        if override is not None
        else None,
    )
