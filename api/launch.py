"""From an accepted request to a running workflow, or to a place in line, for rollouts and rollbacks alike.

Invariant: every row either has its workflow or can be given it, by the same request under its Idempotency-Key; a row
that lost the race for its model and environment is taken back before anybody is told of it, and the caller learns which
deployment runs.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from api.auth import ENGINEERS
from api.capacity import check_capacity
from api.context import Parts
from api.contract import check_contract
from api.orchestration import AlreadyRunning
from api.promotion import check_promotion
from hotswap.deployments.request import deployment_input
from hotswap.domain.access import Principal
from hotswap.domain.errors import Conflict, DeploymentNotFound, Forbidden, Unavailable
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.registry import VersionRef
from hotswap.domain.vocabulary import Environment, OnConflict
from hotswap.messages import QueueInput
from hotswap.persistence.deployments.admission import HOW_TO_WAIT
from hotswap.persistence.deployments.rows import DeploymentRow, NewDeployment
from hotswap.schemas.strategy import CanaryConfig
from hotswap.settings import DeploymentSettings

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 10.0
RETRY_SECONDS = 0.1


def check_may_change(caller: Principal, environment: Environment) -> None:
    """Production is for engineers. Raises Forbidden."""
    if environment is Environment.PRODUCTION:
        _check_engineer(caller, "Production", otherwise="may use Development and Staging")


def check_may_hurry(caller: Principal) -> None:
    """An emergency skips what protects clients, so it is an engineer's decision. Raises Forbidden."""
    _check_engineer(caller, "an emergency", otherwise="may deploy without it")


def _check_engineer(caller: Principal, what: str, *, otherwise: str) -> None:
    if caller.roles.isdisjoint(ENGINEERS):
        place = f" in the team {caller.team}" if caller.team is not None else ""
        roles = " or ".join(ENGINEERS)
        raise Forbidden(f"{what} takes the role {roles}{place}; {caller.subject} {otherwise}")


@dataclass(frozen=True, slots=True)
class Launched:
    """An accepted deployment. One that is not `under_way` has its row only: the same request again shall mend that."""

    row: DeploymentRow
    under_way: bool = True


async def launch(parts: Parts, new: NewDeployment, *, config: CanaryConfig) -> Launched:
    """Write the row and start its workflow, or what waits for its turn; or answer what this key started before.

    Raises ModelNotFound, VersionNotFound, PolicyNotMet, ContractNarrowed, InsufficientCapacity and ValidationFailed for
    what has no room, Conflict naming the deployment that runs, the freeze or what serves already, and Unavailable.
    """
    await check_promotion(parts, new)
    await check_contract(parts, new)
    await check_capacity(parts, new)
    settings = parts.settings.deployments
    if new.waits:
        new = replace(new, queued_request=partial(_queued_request, settings, new, config))
    row = await parts.queries.create_deployment(new)
    deployment = row.deployment
    if deployment.run_id is not None or deployment.status != DeploymentStatus.PENDING:
        return Launched(row)
    if deployment.queued_request is not None:
        return Launched(row, under_way=await _queue(parts, QueueInput.model_validate(deployment.queued_request)))
    request = deployment_input(
        settings, new, config, deployment_id=deployment.deployment_id, model=row.model, version=row.version
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
        return Launched(row)


def _queued_request(
    settings: DeploymentSettings, new: NewDeployment, config: CanaryConfig, deployment_id: str, wanted: VersionRef
) -> dict[str, Any]:
    queued = QueueInput(
        request=deployment_input(
            settings, new, config, deployment_id=deployment_id, model=wanted.model, version=wanted.version
        ),
        start_at=new.start_at,
        supersedes=new.on_conflict is OnConflict.SUPERSEDE,
    )
    return queued.model_dump(mode="json", by_alias=True)


async def _queue(parts: Parts, queued: QueueInput) -> bool:
    """Return whether something waits for its turn now.

    Its row is what was promised: while Temporal is away the reconciler, or the same request again, starts it.
    """
    try:
        await parts.orchestration.start_queue(queued)
    except Unavailable:
        logger.warning("queued, but nothing waits for its turn yet", extra={"deployment": queued.request.deployment_id})
        return False
    return True


async def check_free(parts: Parts, environment: Environment, model: str) -> None:
    """Raises Conflict naming the deployment that runs there, and Unavailable."""
    try:
        await parts.orchestration.check_free(environment, model)
    except AlreadyRunning as other:
        if not await _has_ended(parts, other.deployment_id):
            raise Conflict(await _who_runs(parts, environment, model, other.deployment_id)) from None


async def _has_ended(parts: Parts, deployment_id: str | None) -> bool:
    if deployment_id is None:
        return False
    try:
        row = await parts.queries.deployment(deployment_id)
    except DeploymentNotFound:
        return False
    return DeploymentStatus(row.deployment.status).is_terminal


async def _who_runs(parts: Parts, environment: Environment, model: str, deployment_id: str | None) -> str:
    if deployment_id is None:
        running = await parts.queries.running_deployment(environment, model)
        deployment_id = running.deployment.deployment_id if running is not None else "one that was started elsewhere"
    return (
        f"{model} has a deployment under way in {environment}: {deployment_id}; "
        f"wait for its end, or abort it with `hotswap abort {deployment_id}`; {HOW_TO_WAIT}"
    )
