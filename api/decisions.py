"""What people say to a deployment: approve, promote, abort, rollback.

Each is an update of the deployment's workflow, so the caller learns what came of it. An abort is never lost: where no
worker answers it is left as a signal, which the next worker acts on before anything else. What a deployment answers
depends on where it is by then, not on what the database said a moment ago; only an ended one is told from its row.
"""

import msgspec
from fastapi import APIRouter, Response

from api.auth import GuardedRoute
from api.context import Engineer, Maker, Parts, With
from api.deployments import IdempotencyKey
from api.launch import check_may_change, launch
from api.orchestration import Ended, NoAnswer
from api.schemas import DeploymentId, Say, SayApprove, SayPromote
from hotswap.domain.application import ReplicaResources
from hotswap.domain.errors import Conflict, Forbidden, Unavailable
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy
from hotswap.messages import API, Abort, Answer, Approve, CanaryConfig, Promote, Request
from hotswap.persistence.queries import DeploymentRow, NewDeployment
from hotswap.security import Principal
from hotswap.views import AnswerView

router = APIRouter(prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"], route_class=GuardedRoute)


@router.post("/approve")
async def approve(
    caller: Engineer, parts: With, deployment_id: DeploymentId, body: SayApprove | None = None
) -> AnswerView:
    """Approve the start that waits. Who asked for a Production deployment can't, unless a setting says so."""
    said = body or SayApprove()
    row = await parts.queries.deployment(deployment_id)
    own = row.deployment.environment == Environment.PRODUCTION and row.deployment.initiated_by == caller.subject
    if own and not parts.settings.deployments.allow_self_approval:
        raise Forbidden(f"{caller.subject} asked for {deployment_id}, so somebody else has to approve it")
    return await _ask(parts, row, "approve", Approve(by=caller.subject, reason=said.reason, via=API, step=said.step))


@router.post("/promote")
async def promote(
    caller: Maker, parts: With, deployment_id: DeploymentId, body: SayPromote | None = None
) -> AnswerView:
    """End the present bake as passed; with `full` go to 100% at once."""
    said = body or SayPromote()
    row = await parts.queries.deployment(deployment_id)
    check_may_change(caller, Environment(row.deployment.environment))
    return await _ask(parts, row, "promote", Promote(by=caller.subject, reason=said.reason, via=API, full=said.full))


@router.post("/abort", responses={202: {"model": AnswerView, "description": "recorded; no worker answers yet"}})
async def abort(
    caller: Maker, parts: With, deployment_id: DeploymentId, response: Response, body: Say | None = None
) -> AnswerView:
    """Take all traffic from the candidate, and end. Any maker may, in any environment: it is the safe direction."""
    row = await parts.queries.deployment(deployment_id)
    try:
        return await _abort(parts, row, _abort_request(caller, body), response)
    except Ended:
        raise _without_workflow(await parts.queries.deployment(deployment_id)) from None


@router.post(
    "/rollback",
    responses={202: {"model": AnswerView, "description": "a new deployment of the version before was started"}},
)
async def rollback(
    caller: Maker,
    parts: With,
    deployment_id: DeploymentId,
    response: Response,
    body: Say | None = None,
    idempotency_key: IdempotencyKey = None,
) -> AnswerView:
    """Undo a deployment: abort it while it runs; once it is Active, deploy the version before it again."""
    row = await parts.queries.deployment(deployment_id)
    check_may_change(caller, Environment(row.deployment.environment))
    if not DeploymentStatus(row.deployment.status).is_terminal:
        try:
            return await _abort(parts, row, _abort_request(caller, body, rollback=True), response)
        except Ended:
            row = await parts.queries.deployment(deployment_id)
    status = DeploymentStatus(row.deployment.status)
    if not status.is_terminal:
        raise _without_workflow(row)
    if status is not DeploymentStatus.ACTIVE:
        raise Conflict(f"{deployment_id} is {status}: it serves nothing, so there is nothing to roll back")
    back = await launch(parts, await _backward(parts, row, caller, idempotency_key), config=CanaryConfig())
    response.status_code = 202
    response.headers["Location"] = f"/api/v1/deployments/{back.deployment.deployment_id}"
    return AnswerView(
        deployment_id=back.deployment.deployment_id,
        status=DeploymentStatus(back.deployment.status),
        message=f"{row.model} goes back from {row.version} to {back.version} in {row.deployment.environment}",
        workflow_id=back.deployment.workflow_id,
    )


async def _ask(parts: Parts, row: DeploymentRow, verb: str, request: Request) -> AnswerView:
    deployment = row.deployment
    try:
        answer = await parts.orchestration.ask(deployment.workflow_id, deployment.deployment_id, verb, request)
    except Ended:
        raise _without_workflow(await parts.queries.deployment(deployment.deployment_id)) from None
    except NoAnswer:
        raise Unavailable(
            f"no worker answered for {deployment.deployment_id}; {verb} may still take effect when one is "
            f"back, so look before saying it again. An abort is recorded even now."
        ) from None
    return _answered(row, answer)


async def _abort(parts: Parts, row: DeploymentRow, request: Abort, response: Response) -> AnswerView:
    """Raises Ended when no workflow works on the deployment (any more)."""
    deployment = row.deployment
    try:
        answer = await parts.orchestration.ask(deployment.workflow_id, deployment.deployment_id, "abort", request)
    except NoAnswer:
        await parts.orchestration.abort_by_signal(deployment.workflow_id, deployment.deployment_id, request)
        response.status_code = 202
        return AnswerView(
            deployment_id=deployment.deployment_id,
            status=DeploymentStatus(deployment.status),
            message="no worker answers; the abort is recorded, and the next worker acts on it before anything else",
            confirmed=False,
            workflow_id=deployment.workflow_id,
        )
    return _answered(row, answer)


def _without_workflow(row: DeploymentRow) -> Conflict:
    """What to say of a deployment that nothing works on: what it is now."""
    deployment = row.deployment
    name, status = deployment.deployment_id, deployment.status
    if DeploymentStatus(status).is_terminal:
        why = f" ({deployment.reason}: {deployment.message})" if deployment.reason else ""
        return Conflict(f"{name} has ended: it is {status}{why}")
    if deployment.run_id is None:
        return Conflict(f"{name} was never started; asking for it again with its Idempotency-Key starts it")
    return Conflict(
        f"{name} is {status} by its record, but its workflow is gone: it was terminated, and what it left is "
        f"taken back within a minute or two"
    )


def _answered(row: DeploymentRow, answer: Answer) -> AnswerView:
    """Raises Conflict when what was said had no effect."""
    deployment = row.deployment
    if not answer.accepted:
        raise Conflict(f"{deployment.deployment_id} is {answer.status}, and {answer.message}")
    return AnswerView(
        deployment_id=deployment.deployment_id,
        status=answer.status,
        message=answer.message,
        workflow_id=deployment.workflow_id,
    )


def _abort_request(caller: Principal, body: Say | None, *, rollback: bool = False) -> Abort:
    return Abort(by=caller.subject, reason=body.reason if body else None, via=API, rollback=rollback)


async def _backward(parts: Parts, row: DeploymentRow, caller: Principal, idempotency_key: str | None) -> NewDeployment:
    """The deployment that goes back to the version before, with the replicas that version had. Raises Conflict."""
    environment = Environment(row.deployment.environment)
    active = await parts.queries.deployments(
        model=row.model, environment=environment, status=DeploymentStatus.ACTIVE, limit=200
    )
    newest = active.items[0].deployment.deployment_id
    if newest != row.deployment.deployment_id:
        raise Conflict(f"{row.model} in {environment} was deployed anew by {newest} since; roll that one back")
    if row.previous_version is None:
        raise Conflict(
            f"{row.deployment.deployment_id} was the first of {row.model} in {environment}: nothing to go back to"
        )
    before = next((each for each in active.items if each.version == row.previous_version), row)
    return NewDeployment(
        model=row.model,
        version=row.previous_version,
        environment=environment,
        strategy=Strategy(row.deployment.strategy),
        strategy_config=CanaryConfig().model_dump(mode="json", by_alias=True),
        resources=msgspec.convert(before.deployment.resources, ReplicaResources),
        initiated_by=caller.subject,
        kind=DeploymentKind.ROLLBACK,
        idempotency_key=idempotency_key,
    )
