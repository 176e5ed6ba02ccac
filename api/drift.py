"""Routes for the drift of active versions: the newest report, and one made now."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.context import Maker, Reader, With
from api.parameters import ModelId
from api.presentation import drift_view
from api.routing import GuardedRoute
from hotswap.domain.errors import NotFound
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses import DriftView

router = APIRouter(prefix="/api/v1/models/{model}/drift", tags=["models"], route_class=GuardedRoute)

InEnvironment = Annotated[Environment, Query()]


@router.get("")
async def get_drift(
    _: Reader, parts: With, model: ModelId, environment: InEnvironment = Environment.PRODUCTION
) -> DriftView:
    """Return the newest drift report of this model in this environment."""
    found = await parts.drift.last(model, environment)
    if found is None:
        raise NotFound(
            f"there is no drift report of {model} in {environment} yet; `hotswap drift {model} --now` makes one"
        )
    return drift_view(found)


@router.post("")
async def look_for_drift(
    _: Maker, parts: With, model: ModelId, environment: InEnvironment = Environment.PRODUCTION
) -> DriftView:
    """Compare the last hour's requests to the active version with its reference, and store the report."""
    return drift_view(await parts.drift.report(model, environment))
