"""Why a deployment is where it is: `GET /deployments/{id}/explain`. Reads what is stored, and asks no worker."""

from fastapi import APIRouter

from api.context import Reader, With
from api.parameters import DeploymentId
from api.routing import GuardedRoute
from hotswap.deployments.explain import explanation_view
from hotswap.schemas.responses import ExplanationView

router = APIRouter(prefix="/api/v1/deployments", tags=["deployments"], route_class=GuardedRoute)


@router.get("/{deployment_id}/explain")
async def explain_deployment(_: Reader, parts: With, deployment_id: DeploymentId) -> ExplanationView:
    """In order of time: what was seen, judged and decided, with the numbers it was decided on."""
    row = await parts.deployments.deployment(deployment_id)
    return explanation_view(row, await parts.history.record(deployment_id))
