"""What validation said of a version, and the Admin's word that what failed may pass."""

from fastapi import APIRouter

from api.context import Admin, Parts, Reader, With
from api.parameters import ModelId, VersionId
from api.routing import GuardedRoute
from hotswap.deployments.views import validation_view
from hotswap.domain.registry import VersionEntry
from hotswap.schemas.requests import OverrideValidation, Say
from hotswap.schemas.responses import OverrideView, VersionValidationView

router = APIRouter(
    prefix="/api/v1/models/{model}/versions/{version}/validation", tags=["models"], route_class=GuardedRoute
)


@router.get("")
async def get_validation(_: Reader, parts: With, model: ModelId, version: VersionId) -> VersionValidationView:
    """Its newest report, of its newest deployment that was validated, and what is let pass from the next one on."""
    return await _view(parts, await parts.registry.version(model, version))


@router.post("/override")
async def override_validation(
    caller: Admin, parts: With, model: ModelId, version: VersionId, body: OverrideValidation
) -> VersionValidationView:
    """Let what failed pass from its next deployment on: schemas, memory, latency or accuracy, and nothing else."""
    row = await parts.registry.version(model, version)
    await parts.validations.override(
        row.version.version_id, checks=tuple(body.checks), reason=body.reason, by=caller.subject
    )
    return await _view(parts, row)


@router.delete("/override")
async def withdraw_override(
    caller: Admin, parts: With, model: ModelId, version: VersionId, body: Say | None = None
) -> VersionValidationView:
    """Let nothing of it pass any more."""
    row = await parts.registry.version(model, version)
    await parts.validations.withdraw(row.version.version_id, reason=body.reason if body else None, by=caller.subject)
    return await _view(parts, row)


async def _view(parts: Parts, row: VersionEntry) -> VersionValidationView:
    seen = await parts.validations.newest(row.version.version_id)
    override = seen.override
    return VersionValidationView(
        model=row.ref.model,
        version=row.ref.version,
        deployment_id=seen.deployment_id,
        at=seen.at,
        report=validation_view(seen.report) if seen.report is not None else None,
        override=OverrideView(
            checks=override.checks, by=override.created_by, reason=override.reason, at=override.created_at
        )
        if override is not None
        else None,
    )
