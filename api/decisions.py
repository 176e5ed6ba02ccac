"""Routes for commands to a deployment that is under way: approve, reject, pause, resume, promote, goto, abort.

`hotswap/deployments/steer.py` decides what a command does. Commands that start a deployment after another's end,
rollback and retry, are in `api/redeployment.py`.
"""

from typing import Any

from fastapi import APIRouter, Response

from api.context import Engineer, Maker, Parts, With
from api.parameters import DeploymentId
from api.permissions import check_may_change, check_second_pair_of_eyes
from api.routing import GuardedRoute, WayBackRoute
from hotswap.deployments.steer import without_workflow
from hotswap.deployments.workflows import Ended
from hotswap.domain.access import Principal
from hotswap.domain.deployments import Deployment
from hotswap.messages import API, Abort, Approve, GoToStep, Pause, Promote, Reject, Resume
from hotswap.schemas.requests import Say, SayApprove, SayGoTo, SayPromote
from hotswap.schemas.responses import AnswerView
from hotswap.telemetry.logs import reason

router = APIRouter(prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"], route_class=GuardedRoute)
way_back_router = APIRouter(
    prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"], route_class=WayBackRoute
)


@router.post("/approve")
async def approve(
    caller: Engineer, parts: With, deployment_id: DeploymentId, body: SayApprove | None = None
) -> AnswerView:
    """Approve the start or the step that waits.

    If four eyes are required, the person who asked for the deployment can't.
    """
    said = body or SayApprove()
    deployment = await parts.deployments.deployment(deployment_id)
    if deployment.environment in parts.settings.deployments.four_eyes:
        await check_second_pair_of_eyes(caller, parts, deployment)
    proof = await parts.audit.vouch(deployment_id, by=caller.subject, verb="approve", reason=said.reason)
    return await parts.steering.say(deployment, "approve", Approve(step=said.step, proof=proof, **_said(caller, said)))


@router.post("/reject")
async def reject(caller: Engineer, parts: With, deployment_id: DeploymentId, body: Say | None = None) -> AnswerView:
    """Refuse the start or the step that waits for an approval. The deployment ends."""
    deployment = await parts.deployments.deployment(deployment_id)
    return await parts.steering.say(deployment, "reject", Reject(**_said(caller, body)))


@router.post("/pause")
async def pause(caller: Maker, parts: With, deployment_id: DeploymentId, body: Say | None = None) -> AnswerView:
    """Keep the present weight, watched for harm, until `resume`."""
    deployment = await _changeable(caller, parts, deployment_id)
    return await parts.steering.say(deployment, "pause", Pause(**_said(caller, body)))


@router.post("/resume")
async def resume(caller: Maker, parts: With, deployment_id: DeploymentId, body: Say | None = None) -> AnswerView:
    """End a pause. The present step begins anew."""
    deployment = await _changeable(caller, parts, deployment_id)
    return await parts.steering.say(deployment, "resume", Resume(**_said(caller, body)))


@router.post("/goto")
async def go_to(caller: Maker, parts: With, deployment_id: DeploymentId, body: SayGoTo) -> AnswerView:
    """Go to a step, counted from 1: back, or forward if that skips no approval."""
    deployment = await _changeable(caller, parts, deployment_id)
    return await parts.steering.say(deployment, "goto", GoToStep(step=body.step, **_said(caller, body)))


@router.post("/promote")
async def promote(
    caller: Maker, parts: With, deployment_id: DeploymentId, body: SayPromote | None = None
) -> AnswerView:
    """End the present bake as passed; with `full` go to 100% at once."""
    said = body or SayPromote()
    deployment = await _changeable(caller, parts, deployment_id)
    return await parts.steering.say(deployment, "promote", Promote(full=said.full, **_said(caller, said)))


@way_back_router.post(
    "/abort", responses={202: {"model": AnswerView, "description": "recorded; no worker has answered yet"}}
)
async def abort(
    caller: Maker, parts: With, deployment_id: DeploymentId, response: Response, body: Say | None = None
) -> AnswerView:
    """Take all traffic from the candidate, and end the deployment.

    Every role that may deploy may abort in any environment, since it is the safe direction.
    """
    deployment = await parts.deployments.deployment(deployment_id)
    try:
        answer = await parts.steering.abort(deployment, Abort(**_said(caller, body)))
    except Ended:
        raise without_workflow(await parts.deployments.deployment(deployment_id)) from None
    return confirmed(answer, response)


def confirmed(answer: AnswerView, response: Response) -> AnswerView:
    """Say 202 for what is recorded, and not done yet."""
    if not answer.confirmed:
        response.status_code = 202
    return answer


async def _changeable(caller: Principal, parts: Parts, deployment_id: str) -> Deployment:
    """Return the deployment.

    Raises DeploymentNotFound, and Forbidden if the caller may not change its environment.
    """
    deployment = await parts.deployments.deployment(deployment_id)
    check_may_change(caller, deployment.environment)
    return deployment


def _said(caller: Principal, body: Say | None) -> dict[str, Any]:
    """Return the fields that every command carries: who gives it and why, as the API has verified."""
    said = body.reason if body else None
    return {"by": caller.subject, "reason": said if said is not None else reason.get(), "via": API}
