"""Routes that start a deployment after another's end: a rollback to the version before, a retry of a failed one.

While the deployment is under way both are commands to it: an abort, and an analysis that runs again.
"""

from collections.abc import Callable

from fastapi import APIRouter, Response

from api.context import Maker, With
from api.decisions import confirmed
from api.idempotency import KeyName, LeaveOpen
from api.limits import LIMITED
from api.parameters import DeploymentId
from api.permissions import check_may_change
from api.routing import GuardedRoute, WayBackRoute
from hotswap.deployments.start import Started
from hotswap.deployments.steer import without_workflow
from hotswap.deployments.workflows import Ended
from hotswap.domain.access import Principal
from hotswap.domain.deployments import Deployment, NewDeployment
from hotswap.domain.errors import Conflict
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.messages import API, Abort, Retry
from hotswap.schemas.requests import Say
from hotswap.schemas.responses import AnswerView

router = APIRouter(prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"], route_class=GuardedRoute)
way_back_router = APIRouter(
    prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"], route_class=WayBackRoute
)


@way_back_router.post(
    "/rollback",
    responses={202: {"model": AnswerView, "description": "a new deployment of the version before was started"}},
)
async def rollback(
    caller: Maker,
    parts: With,
    deployment_id: DeploymentId,
    response: Response,
    key: KeyName,
    leave_open: LeaveOpen,
    body: Say | None = None,
) -> AnswerView:
    """Undo a deployment: abort it while it runs; once it is Active, deploy the version before it again."""
    deployment = await parts.deployments.deployment(deployment_id)
    check_may_change(caller, deployment.environment)
    if not deployment.status.is_terminal:
        reason = body.reason if body else None
        abort = Abort(by=caller.subject, reason=reason, via=API, rollback=True)
        try:
            return confirmed(await parts.steering.abort(deployment, abort), response)
        except Ended:
            deployment = await parts.deployments.deployment(deployment_id)
    if not deployment.status.is_terminal:
        raise without_workflow(deployment)
    new = await parts.way_back.find(deployment, by=caller.subject, idempotency_key=key)
    started = await parts.starter.start(new)
    back = started.deployment
    message = f"{back.model} goes back from {deployment.version} to {back.version} in {back.environment}"
    return _answer(started, response, leave_open, message)


@router.post(
    "/retry",
    responses={
        202: {"model": AnswerView, "description": "a new deployment with the same request was started"},
        **LIMITED,
    },
)
async def retry(
    caller: Maker,
    parts: With,
    deployment_id: DeploymentId,
    response: Response,
    key: KeyName,
    leave_open: LeaveOpen,
    body: Say | None = None,
) -> AnswerView:
    """Repeat the analysis that holds a deployment; if it has ended without success, deploy its version again."""
    deployment = await parts.deployments.deployment(deployment_id)
    check_may_change(caller, deployment.environment)
    if not deployment.status.is_terminal:
        request = Retry(by=caller.subject, reason=body.reason if body else None, via=API)
        return await parts.steering.say(deployment, "retry", request)
    if deployment.status is DeploymentStatus.ACTIVE:
        raise Conflict(f"{deployment_id} is Active: it has succeeded, so there is nothing to retry")
    await parts.limits.check_deployment(caller.subject, response)
    started = await parts.starter.start(_as_before(deployment, caller, key))
    again = started.deployment
    message = f"{again.model} {again.version} is deployed to {again.environment} again"
    return _answer(started, response, leave_open, message)


def _as_before(deployment: Deployment, caller: Principal, key: str | None) -> NewDeployment:
    return NewDeployment(
        model=deployment.model,
        version=deployment.version,
        environment=deployment.environment,
        strategy=deployment.strategy,
        strategy_config=deployment.strategy_config,
        resources=deployment.resources,
        initiated_by=caller.subject,
        kind=deployment.kind,
        idempotency_key=key,
        accept_contract_change=deployment.accept_contract_change,
        says_resources=True,
    )


def _answer(started: Started, response: Response, leave_open: Callable[[], None], message: str) -> AnswerView:
    """Say 202, and where the new deployment is."""
    if not started.under_way:
        leave_open()
    deployment = started.deployment
    response.status_code = 202
    response.headers["Location"] = f"/api/v1/deployments/{deployment.deployment_id}"
    return AnswerView(
        deployment_id=deployment.deployment_id,
        status=deployment.status,
        message=message,
        workflow_id=deployment.workflow_id,
    )
