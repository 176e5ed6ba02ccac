"""`GET /deployments/{id}/explain`: the record of what was observed and decided. It reads rows and asks no worker."""

from fastapi import APIRouter

from api.context import Reader, With
from api.parameters import DeploymentId
from api.routing import GuardedRoute
from hotswap.deployments.explain import explanation_view
from hotswap.schemas.responses import ExplanationView

router = APIRouter(prefix="/api/v1/deployments", tags=["deployments"], route_class=GuardedRoute)


@router.get("/{deployment_id}/explain")
async def explain_deployment(_: Reader, parts: With, deployment_id: DeploymentId) -> ExplanationView:
    """Return what was observed, judged and decided in a deployment, in order of time, with the numbers used."""
    row = await parts.deployments.deployment(deployment_id)
    return explanation_view(row, await parts.history.record(deployment_id))
