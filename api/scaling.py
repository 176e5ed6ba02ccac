"""`POST /deployments/{id}/scale`: how many replicas of what serves there are.

Only what serves now can be scaled, and not while another deployment of its model counts on the replicas there are; but
while one goes back and waits for them, to say that fewer are enough is what ends the wait.
"""

from fastapi import APIRouter, Response

from api.context import Maker, With
from api.parameters import DeploymentId
from api.permissions import check_may_change
from api.routing import GuardedRoute
from hotswap.domain.errors import Conflict, ValidationFailed
from hotswap.messages import ScalingInput
from hotswap.schemas.requests import SayScale
from hotswap.schemas.responses import AnswerView
from hotswap.telemetry.logs import reason

router = APIRouter(prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"], route_class=GuardedRoute)


@router.post("/scale", responses={202: {"model": AnswerView, "description": "accepted; replicas are still starting"}})
async def scale(
    caller: Maker, parts: With, deployment_id: DeploymentId, body: SayScale, response: Response
) -> AnswerView:
    """Set the number of replicas of the active version; if it scales by load, its minimum."""
    deployment = await parts.deployments.deployment(deployment_id)
    environment = deployment.environment
    check_may_change(caller, environment)
    serving = await parts.activation_history.serving(deployment.model, environment)
    if serving is None or serving.deployment_id != deployment_id:
        by = f"; {serving.deployment_id} does" if serving is not None else ""
        raise Conflict(
            f"{deployment_id} is {deployment.status} and doesn't serve {deployment.model} in {environment}{by}: only "
            "what serves is scaled"
        )
    most = serving.setup.resources.max_replicas
    if most is not None and body.replicas > most:
        raise ValidationFailed.of(
            "replicas", f"{body.replicas} is above its maxReplicas {most}; deploy it with a larger maxReplicas"
        )
    outcome = await parts.orchestration.scale(
        ScalingInput(
            application=serving.application,
            deployment_id=deployment_id,
            replicas=body.replicas,
            by=caller.subject,
            reason=body.reason if body.reason is not None else reason.get(),
        )
    )
    if outcome is None:
        response.status_code = 202
    said = f"goes to {body.replicas} replicas" if outcome is None else f"has {outcome.replicas} replicas ready"
    before = f", before {outcome.before}" if outcome is not None else ""
    return AnswerView(
        deployment_id=deployment_id,
        status=deployment.status,
        message=f"{deployment.model} {deployment.version} {said}{before}",
        confirmed=outcome is not None,
        workflow_id=deployment.workflow_id,
    )
