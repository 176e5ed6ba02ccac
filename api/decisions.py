"""What people say to a deployment that is under way: approve, reject, pause, resume, promote, goto, abort.

Each is an update of the deployment's workflow, so the caller learns what came of it. An abort is never lost: where no
worker answers it is left as a signal, which the next worker acts on before anything else. What a deployment answers
depends on where it is by then, not on what the database said a moment ago; only an ended one is told from its row. What
starts a deployment after another's end, rollback and retry, is in `api.redeployment`.
"""

from typing import Any

from fastapi import APIRouter, Response

from api.context import Engineer, Maker, Parts, With
from api.launch import check_may_change
from api.orchestration import Ended, NoAnswer
from api.queue import leave_line, too_early
from api.routing import GuardedRoute
from api.schemas import DeploymentId, Say, SayApprove, SayGoTo, SayPromote
from hotswap.domain.access import Principal, is_program
from hotswap.domain.errors import Conflict, Forbidden, Unavailable
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import Environment
from hotswap.messages import API, Abort, Answer, Approve, GoToStep, Pause, Promote, Reject, Request, Resume
from hotswap.persistence.deployments.rows import DeploymentRow
from hotswap.schemas.responses import AnswerView
from hotswap.telemetry.logs import reason

router = APIRouter(prefix="/api/v1/deployments/{deployment_id}", tags=["deployments"], route_class=GuardedRoute)


@router.post("/approve")
async def approve(
    caller: Engineer, parts: With, deployment_id: DeploymentId, body: SayApprove | None = None
) -> AnswerView:
    """Approve what waits, the start or a step. Where four eyes are asked for, who asked for the deployment can't."""
    said = body or SayApprove()
    row = await parts.queries.deployment(deployment_id)
    if row.deployment.environment in parts.settings.deployments.four_eyes:
        await _check_second_pair_of_eyes(caller, parts, row)
    proof = await parts.audit.vouch(deployment_id, by=caller.subject, verb="approve", why=said.reason)
    return await ask(parts, row, "approve", Approve(step=said.step, proof=proof, **_said(caller, said)))


@router.post("/reject")
async def reject(caller: Engineer, parts: With, deployment_id: DeploymentId, body: Say | None = None) -> AnswerView:
    """Refuse what waits for an approval: the start or a step. The deployment ends."""
    row = await parts.queries.deployment(deployment_id)
    return await ask(parts, row, "reject", Reject(**_said(caller, body)))


@router.post("/pause")
async def pause(caller: Maker, parts: With, deployment_id: DeploymentId, body: Say | None = None) -> AnswerView:
    """Stay at the present weight, watched for harm, until `resume`."""
    return await ask(parts, await _changeable(caller, parts, deployment_id), "pause", Pause(**_said(caller, body)))


@router.post("/resume")
async def resume(caller: Maker, parts: With, deployment_id: DeploymentId, body: Say | None = None) -> AnswerView:
    """End a pause; the present step begins anew."""
    return await ask(parts, await _changeable(caller, parts, deployment_id), "resume", Resume(**_said(caller, body)))


@router.post("/goto")
async def go_to(caller: Maker, parts: With, deployment_id: DeploymentId, body: SayGoTo) -> AnswerView:
    """Go to a step, counted from 1: back, or forward as far as no approval is passed over."""
    row = await _changeable(caller, parts, deployment_id)
    return await ask(parts, row, "goto", GoToStep(step=body.step, **_said(caller, body)))


@router.post("/promote")
async def promote(
    caller: Maker, parts: With, deployment_id: DeploymentId, body: SayPromote | None = None
) -> AnswerView:
    """End the present bake as passed; with `full` go to 100% at once."""
    said = body or SayPromote()
    row = await _changeable(caller, parts, deployment_id)
    return await ask(parts, row, "promote", Promote(full=said.full, **_said(caller, said)))


@router.post("/abort", responses={202: {"model": AnswerView, "description": "recorded; no worker answers yet"}})
async def abort(
    caller: Maker, parts: With, deployment_id: DeploymentId, response: Response, body: Say | None = None
) -> AnswerView:
    """Take all traffic from the candidate, and end. Any maker may, in any environment: it is the safe direction."""
    row = await parts.queries.deployment(deployment_id)
    try:
        return await ask_to_abort(parts, row, Abort(**_said(caller, body)), response)
    except Ended:
        raise without_workflow(await parts.queries.deployment(deployment_id)) from None


async def _check_second_pair_of_eyes(caller: Principal, parts: Parts, row: DeploymentRow) -> None:
    """Raises Forbidden where the caller may have asked for the deployment himself, by whatever hand."""
    name, asked = row.deployment.deployment_id, row.deployment.initiated_by
    if asked == caller.subject:
        raise Forbidden(f"{caller.subject} asked for {name}, so somebody else has to approve it")
    if caller.is_program:
        raise Forbidden(f"{name} takes a person's approval: {caller.subject} may be anybody's hand")
    if is_program(asked) and caller.subject in await parts.service_tokens.shown_to(asked):
        raise Forbidden(
            f"{asked} asked for {name}, and {caller.subject} made that token or gave it a new secret, so somebody else "
            f"has to approve it"
        )


async def _changeable(caller: Principal, parts: Parts, deployment_id: str) -> DeploymentRow:
    """Raises DeploymentNotFound, and Forbidden where the caller may not change that environment."""
    row = await parts.queries.deployment(deployment_id)
    check_may_change(caller, Environment(row.deployment.environment))
    return row


async def ask(parts: Parts, row: DeploymentRow, verb: str, request: Request) -> AnswerView:
    if row.is_queued:
        raise too_early(row, verb)
    deployment = row.deployment
    try:
        answer = await parts.orchestration.ask(deployment.workflow_id, deployment.deployment_id, verb, request)
    except Ended:
        raise without_workflow(await parts.queries.deployment(deployment.deployment_id)) from None
    except NoAnswer:
        raise Unavailable(
            f"no worker answered for {deployment.deployment_id}; {verb} may still take effect when one is "
            f"back, so look before saying it again. An abort is recorded even now."
        ) from None
    return _answered(row, answer)


async def ask_to_abort(parts: Parts, row: DeploymentRow, request: Abort, response: Response) -> AnswerView:
    """Raises Ended when no workflow works on the deployment (any more)."""
    if row.is_queued:
        if (left := await leave_line(parts, row, request)) is not None:
            return left
        row = await parts.queries.deployment(row.deployment.deployment_id)
    deployment = row.deployment
    if deployment.run_id is None and DeploymentStatus(deployment.status).is_terminal:
        raise Ended  # it left the line, which the workflow that waited for its turn may not know yet
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


def without_workflow(row: DeploymentRow) -> Conflict:
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


def _said(caller: Principal, body: Say | None) -> dict[str, Any]:
    """What every request carries: who says it and why, as proven by the API."""
    said = body.reason if body else None
    return {"by": caller.subject, "reason": said if said is not None else reason.get(), "via": API}
