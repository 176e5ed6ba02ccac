"""The way back from an active version: a new deployment of the version before it, without analysis.

People ask for one through the API, which starts it. The monitor asks for one by its alert, and its workflow starts it.
"""

from dataclasses import dataclass, replace
from typing import Any

from hotswap.deployments.request import with_defaults
from hotswap.deployments.start import Acceptance
from hotswap.domain.application import ReplicaResources
from hotswap.domain.deployments import Deployment, NewDeployment, WantedDeployments
from hotswap.domain.errors import Conflict
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.monitoring import MONITOR, Alert
from hotswap.domain.paging import Window
from hotswap.domain.vocabulary import DeploymentKind
from hotswap.ports import DeploymentReader
from hotswap.schemas.strategy import CanaryConfig
from hotswap.settings import Settings

RECENT = Window(limit=200)


@dataclass(frozen=True, slots=True)
class WayBack:
    """Finds the deployment that goes back from another one."""

    settings: Settings
    deployments: DeploymentReader

    async def find(self, deployment: Deployment, *, by: str, idempotency_key: str | None) -> NewDeployment:
        """Return a deployment of the version before an active one, with as many replicas as serve now.

        Raises Conflict where it serves nothing, another has been deployed since, or there was none before.
        """
        name, model, environment = deployment.deployment_id, deployment.model, deployment.environment
        if deployment.status is not DeploymentStatus.ACTIVE:
            raise Conflict(f"{name} is {deployment.status}: it serves nothing, so there is nothing to roll back")
        wanted = WantedDeployments(model=model, environment=environment, statuses=[DeploymentStatus.ACTIVE])
        active = (await self.deployments.deployments(wanted, RECENT)).items
        newest = active[0].deployment_id
        if newest != name:
            raise Conflict(f"{newest} has deployed {model} to {environment} since; roll that one back")
        if deployment.previous_version is None:
            raise Conflict(f"{name} was the first of {model} in {environment}, so there is no version to go back to")
        before = next((each for each in active if each.version == deployment.previous_version), deployment)
        return NewDeployment(
            model=model,
            version=deployment.previous_version,
            environment=environment,
            strategy=deployment.strategy,
            strategy_config=self._config(deployment).model_dump(mode="json", by_alias=True),
            resources=_for_the_present_load(before.resources, deployment.resources),
            initiated_by=by,
            kind=DeploymentKind.ROLLBACK,
            idempotency_key=idempotency_key,
        )

    def _config(self, deployment: Deployment) -> CanaryConfig:
        """Return the configuration that the deployment gave for a rollback, completed from the settings."""
        given = CanaryConfig.model_validate(deployment.strategy_config)
        said = CanaryConfig(allow_recreate=given.allow_recreate, on_abort=given.on_abort)
        return with_defaults(said, self.settings)


@dataclass(frozen=True, slots=True)
class MonitorRollbacks:
    """Implements `hotswap.ports.AlertRollbacks`."""

    way_back: WayBack
    acceptance: Acceptance

    async def ask(self, alert: Alert) -> dict[str, Any]:
        deployments = self.way_back.deployments
        running = await deployments.running_deployment(alert.environment, alert.model)
        if running is not None and running.idempotency_key != alert.alert_id:
            raise Conflict(f"{running.deployment_id} is under way in {alert.environment}, or waits")
        deployment = await deployments.deployment(alert.deployment_id)
        new = await self.way_back.find(deployment, by=MONITOR, idempotency_key=alert.alert_id)
        accepted = await self.acceptance.accept(new)
        started_with = self.acceptance.input(
            new, deployment_id=accepted.deployment_id, model=accepted.model, version=accepted.version
        )
        return started_with.model_dump(mode="json", by_alias=True)

    async def withdraw(self, deployment_id: str) -> None:
        await self.acceptance.admissions.withdraw(deployment_id)


def _for_the_present_load(had: ReplicaResources, has: ReplicaResources) -> ReplicaResources:
    """Return what that version had, with as many replicas as serve now if they are as large (`scale`)."""
    alike = (had.gpus, had.cpus, had.scales_by_load) == (has.gpus, has.cpus, has.scales_by_load)
    return replace(had, replicas=has.replicas) if alike and not had.scales_by_load else had
