"""From an accepted request to a running workflow, for rollouts and rollbacks alike.

Invariant: every row either has its workflow or can be given it by the same Idempotency-Key; a row that lost the race
for its model and environment is taken back before anybody is told of it, and the caller learns which deployment runs.
"""

import asyncio

from api.context import Parts
from api.orchestration import AlreadyRunning
from hotswap.domain.errors import Conflict, DeploymentNotFound, Forbidden
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import DeploymentKind, Environment, Role
from hotswap.messages import CanaryConfig, DeploymentInput
from hotswap.persistence.queries import DeploymentRow, NewDeployment
from hotswap.security import Principal

CLOSING_SECONDS = 10.0
RETRY_SECONDS = 0.1


def check_may_change(caller: Principal, environment: Environment) -> None:
    """Production is for engineers. Raises Forbidden."""
    if environment is Environment.PRODUCTION and not caller.roles & {Role.ML_ENGINEER, Role.ADMIN}:
        raise Forbidden(
            f"Production takes the role MLEngineer or Admin; {caller.subject} may use Development and Staging"
        )


async def launch(parts: Parts, new: NewDeployment, *, config: CanaryConfig) -> DeploymentRow:
    """Write the row and start its workflow, or answer what this key started before.

    Raises ModelNotFound, VersionNotFound, Conflict naming the deployment that runs, and Unavailable.
    """
    row = await parts.queries.create_deployment(new)
    _check_same(row, new)
    deployment = row.deployment
    if deployment.run_id is not None or deployment.status != DeploymentStatus.PENDING:
        return row
    settings = parts.settings.deployments
    request = DeploymentInput(
        deployment_id=deployment.deployment_id,
        kind=new.kind,
        environment=new.environment,
        model=row.model,
        version=row.version,
        initiated_by=deployment.initiated_by,
        config=config,
        approval_required=new.kind is DeploymentKind.ROLLOUT and new.environment in settings.approval_required,
        keep_previous=settings.keep_previous,
        warmup_timeout=settings.warmup_timeout,
    )
    closing = CLOSING_SECONDS
    while True:
        try:
            await parts.orchestration.start_deployment(request)
        except AlreadyRunning as other:
            # A deployment is reported as ended a moment before its workflow has closed.
            if closing > 0 and await _has_ended(parts, other.deployment_id):
                closing -= RETRY_SECONDS
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await parts.queries.delete_unstarted_deployment(deployment.deployment_id)
            raise Conflict(await _who_runs(parts, new.environment, row.model, other.deployment_id)) from None
        return row


async def _has_ended(parts: Parts, deployment_id: str | None) -> bool:
    if deployment_id is None:
        return False
    try:
        row = await parts.queries.deployment(deployment_id)
    except DeploymentNotFound:
        return False
    return DeploymentStatus(row.deployment.status).is_terminal


def _check_same(row: DeploymentRow, new: NewDeployment) -> None:
    """A key that was used for another model or version must not answer that deployment."""
    deployment = row.deployment
    same_model = new.model in {row.model, deployment.model_id}
    same_version = new.version is None or new.version in {row.version, deployment.version_id}
    if not (same_model and same_version):
        raise Conflict(
            f"this Idempotency-Key was used for {deployment.deployment_id}, of {row.model} {row.version}; take another"
        )


async def _who_runs(parts: Parts, environment: Environment, model: str, deployment_id: str | None) -> str:
    if deployment_id is None:
        running = await parts.queries.running_deployment(environment, model)
        deployment_id = running.deployment.deployment_id if running is not None else "one that was started elsewhere"
    return (
        f"{model} has a deployment under way in {environment}: {deployment_id}; "
        f"wait for its end, or abort it with `hotswap abort {deployment_id}`"
    )
