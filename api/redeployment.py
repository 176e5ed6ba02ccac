"""What starts a deployment after another's end: a rollback to the version before, and a retry of what failed.

While the deployment is under way both are words to it instead: an abort, and an analysis that runs again.
"""

import msgspec
from fastapi import APIRouter, Response

from api.context import Maker, With
from api.decisions import ask, ask_to_abort, without_workflow
from api.idempotency import KeyName, LeaveOpen
from api.launch import check_may_change, launch
from api.limits import LIMITED
from api.orchestration import Ended
from api.routing import GuardedRoute
from api.schemas import DeploymentId, Say
from hotswap.deployments.rollback import backward, backward_config
from hotswap.domain.access import Principal
from hotswap.domain.application import ReplicaResources
from hotswap.domain.errors import Conflict
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy
from hotswap.messages import API, Abort, Retry
from hotswap.persistence.deployments.rows import DeploymentRow, NewDeployment
from hotswap.schemas.responses import AnswerView
from hotswap.schemas.strategy import CanaryConfig

router = APIRouter(prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"], route_class=GuardedRoute)


@router.post(
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
    row = await parts.queries.deployment(deployment_id)
    check_may_change(caller, Environment(row.deployment.environment))
    if not DeploymentStatus(row.deployment.status).is_terminal:
        reason = body.reason if body else None
        abort = Abort(by=caller.subject, reason=reason, via=API, rollback=True)
        try:
            return await ask_to_abort(parts, row, abort, response)
        except Ended:
            row = await parts.queries.deployment(deployment_id)
    status = DeploymentStatus(row.deployment.status)
    if not status.is_terminal:
        raise without_workflow(row)
    if status is not DeploymentStatus.ACTIVE:
        raise Conflict(f"{deployment_id} is {status}: it serves nothing, so there is nothing to roll back")
    config = backward_config(row, parts.settings)
    new = await backward(parts.queries, row, by=caller.subject, idempotency_key=key, config=config)
    launched = await launch(parts, new, config=config)
    if not launched.under_way:
        leave_open()
    back = launched.row
    went = f"{row.model} goes back from {row.version} to {back.version} in {row.deployment.environment}"
    return _started(back, response, went)


@router.post(
    "/retry",
    responses={
        202: {"model": AnswerView, "description": "a new deployment, asked for as that one was, was started"},
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
    """Run the analysis again that holds a deployment; one that has ended without success is deployed again."""
    row = await parts.queries.deployment(deployment_id)
    check_may_change(caller, Environment(row.deployment.environment))
    if not DeploymentStatus(row.deployment.status).is_terminal:
        request = Retry(by=caller.subject, reason=body.reason if body else None, via=API)
        return await ask(parts, row, "retry", request)
    if row.deployment.status == DeploymentStatus.ACTIVE:
        raise Conflict(f"{deployment_id} is Active: it has succeeded, and there is nothing to try again")
    await parts.limits.check_deployment(caller.subject, response)
    config = CanaryConfig.model_validate(row.deployment.strategy_config)
    launched = await launch(parts, _as_before(row, caller, key), config=config)
    if not launched.under_way:
        leave_open()
    again = launched.row
    return _started(
        again, response, f"{again.model} {again.version} is deployed to {again.deployment.environment} again"
    )


def _as_before(row: DeploymentRow, caller: Principal, key: str | None) -> NewDeployment:
    deployment = row.deployment
    return NewDeployment(
        model=row.model,
        version=row.version,
        environment=Environment(deployment.environment),
        strategy=Strategy(deployment.strategy),
        strategy_config=deployment.strategy_config,
        resources=msgspec.convert(deployment.resources, ReplicaResources),
        initiated_by=caller.subject,
        kind=DeploymentKind(deployment.kind),
        idempotency_key=key,
        accept_contract_change=deployment.accept_contract_change,
        says_resources=True,
    )


def _started(row: DeploymentRow, response: Response, message: str) -> AnswerView:
    response.status_code = 202
    response.headers["Location"] = f"/api/v1/deployments/{row.deployment.deployment_id}"
    return AnswerView(
        deployment_id=row.deployment.deployment_id,
        status=DeploymentStatus(row.deployment.status),
        message=message,
        workflow_id=row.deployment.workflow_id,
    )
