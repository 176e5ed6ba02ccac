"""Start of deployments: from an accepted request to a running workflow, or to a place in the queue.

Invariant: every row either has its workflow or can be given it, by the same request under its idempotency key; a row
that lost the race for its model and environment is taken back before anybody is told of it, and the caller learns which
deployment runs.
"""

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import Any

from hotswap.deployments.checks import Checks
from hotswap.deployments.request import deployment_input
from hotswap.deployments.workflows import AlreadyRunning, DeploymentWorkflows
from hotswap.domain.deployments import Deployment, NewDeployment
from hotswap.domain.errors import Conflict, DeploymentNotFound, Unavailable
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.queueing import HOW_TO_WAIT
from hotswap.domain.registry import VersionRef
from hotswap.domain.vocabulary import Environment, OnConflict
from hotswap.messages import DeploymentInput, QueueInput
from hotswap.ports import Admissions, DeploymentReader, Versions
from hotswap.settings import DeploymentSettings

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 10.0
RETRY_SECONDS = 0.1

_SAID = (
    "environment",
    "kind",
    "strategy",
    "strategy_config",
    "resources",
    "start_at",
    "accept_contract_change",
    "emergency",
)
"""Fields that are equal in a repeated request."""


@dataclass(frozen=True, slots=True)
class Started:
    """An accepted deployment. One that is not `under_way` has its row only: the same request again shall mend that."""

    deployment: Deployment
    under_way: bool = True


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Checks a request and writes its row, for whoever starts its workflow then."""

    settings: DeploymentSettings
    checks: Checks
    versions: Versions
    admissions: Admissions

    async def accept(self, new: NewDeployment) -> Deployment:
        """Write the row, or find the one that the same key has written; that one isn't refused any more.

        Raises ModelNotFound, VersionNotFound, PolicyNotMet, ContractNarrowed, InsufficientCapacity and ValidationFailed
        for what has no room or starts in the past, and Conflict naming the freeze, the line, what serves already, or
        the deployment that was asked for otherwise under this key.
        """
        known = await self.admissions.known(new)
        if known is not None:
            return _same(known, new)
        version = await self.versions.ref(new.model, new.version)
        await self.checks.check(new, version)
        deployment_id = f"dep-{secrets.token_hex(6)}"
        queued = self._queued(new, version, deployment_id) if new.waits else None
        accepted = await self.admissions.admit(new, version, deployment_id=deployment_id, queued_request=queued)
        return accepted if accepted.deployment_id == deployment_id else _same(accepted, new)

    def _queued(self, new: NewDeployment, version: VersionRef, deployment_id: str) -> dict[str, Any]:
        queued = QueueInput(
            request=self.input(new, deployment_id=deployment_id, model=version.model, version=version.version),
            start_at=new.start_at,
            supersedes=new.on_conflict is OnConflict.SUPERSEDE,
        )
        return queued.model_dump(mode="json", by_alias=True)

    def input(self, new: NewDeployment, *, deployment_id: str, model: str, version: str) -> DeploymentInput:
        """Make what starts the workflow of this deployment."""
        return deployment_input(self.settings, new, deployment_id=deployment_id, model=model, version=version)


@dataclass(frozen=True, slots=True)
class DeploymentStarter:
    """Starts deployments by Temporal's client."""

    acceptance: Acceptance
    deployments: DeploymentReader
    workflows: DeploymentWorkflows

    async def start(self, new: NewDeployment) -> Started:
        """Accept the deployment, and start its workflow or what waits for its turn.

        Raises what `Acceptance.accept` does, Conflict naming the deployment that runs, and Unavailable.
        """
        accepted = await self.acceptance.accept(new)
        if accepted.run_id is not None or accepted.status is not DeploymentStatus.PENDING:
            return Started(accepted)
        if accepted.queued_request is not None:
            return Started(accepted, under_way=await self._queue(QueueInput.model_validate(accepted.queued_request)))
        request = self.acceptance.input(
            new, deployment_id=accepted.deployment_id, model=accepted.model, version=accepted.version
        )
        closing = CLOSING_SECONDS
        while True:
            try:
                await self.workflows.start_deployment(request)
            except AlreadyRunning as other:
                # A deployment is reported as ended a moment before its workflow has closed.
                if closing > 0 and await self._has_ended(other.deployment_id):
                    closing -= RETRY_SECONDS
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                await self.acceptance.admissions.withdraw(accepted.deployment_id)
                raise Conflict(await self._who_runs(new.environment, accepted.model, other.deployment_id)) from None
            return Started(accepted)

    async def check_free(self, environment: Environment, model: str) -> None:
        """Check that none is under way. Raises Conflict naming the deployment that runs there, and Unavailable."""
        try:
            await self.workflows.check_free(environment, model)
        except AlreadyRunning as other:
            if not await self._has_ended(other.deployment_id):
                raise Conflict(await self._who_runs(environment, model, other.deployment_id)) from None

    async def _queue(self, queued: QueueInput) -> bool:
        """Return whether something waits for its turn now.

        Its row is what was promised: while Temporal is away the reconciler, or the same request again, starts it.
        """
        try:
            await self.workflows.start_queue(queued)
        except Unavailable:
            logger.warning(
                "queued, but nothing waits for its turn yet", extra={"deployment": queued.request.deployment_id}
            )
            return False
        return True

    async def _has_ended(self, deployment_id: str | None) -> bool:
        if deployment_id is None:
            return False
        try:
            found = await self.deployments.deployment(deployment_id)
        except DeploymentNotFound:
            return False
        return found.status.is_terminal

    async def _who_runs(self, environment: Environment, model: str, deployment_id: str | None) -> str:
        if deployment_id is None:
            running = await self.deployments.running_deployment(environment, model)
            deployment_id = running.deployment_id if running is not None else "one that was started elsewhere"
        return (
            f"{model} has a deployment under way in {environment}: {deployment_id}; "
            f"wait for its end, or abort it with `hotswap abort {deployment_id}`; {HOW_TO_WAIT}"
        )


def _same(known: Deployment, new: NewDeployment) -> Deployment:
    """Return the known one. Raises Conflict where the key was used for something else."""
    if any(getattr(known, name) != getattr(new, name) for name in _SAID):
        raise Conflict(
            f"this Idempotency-Key was used for {known.deployment_id}, which was another request; use a new key"
        )
    return known
