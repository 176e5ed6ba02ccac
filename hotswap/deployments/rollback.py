"""The deployment that takes an active version back: to the one before it, without analysis.

People ask for one through the API, which starts it; the monitor asks for one here and its workflow starts it.
"""

from dataclasses import replace
from typing import Any

import msgspec

from hotswap.deployments.request import deployment_input, with_defaults
from hotswap.domain.application import ReplicaResources
from hotswap.domain.errors import Conflict
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.monitoring import Alert
from hotswap.domain.vocabulary import DeploymentKind, Environment, Strategy
from hotswap.persistence.deployments.queries import Queries
from hotswap.persistence.deployments.rows import DeploymentRow, NewDeployment, WantedDeployments
from hotswap.persistence.monitoring.alerts import ACTOR
from hotswap.persistence.platform.paging import Window
from hotswap.schemas.strategy import CanaryConfig
from hotswap.settings import Settings


class Rollbacks:
    """Implements `hotswap.ports.Rollbacks`."""

    def __init__(self, queries: Queries, settings: Settings) -> None:
        self._queries = queries
        self._settings = settings

    async def ask(self, alert: Alert) -> dict[str, Any]:
        running = await self._queries.running_deployment(alert.environment, alert.model)
        if running is not None and running.deployment.idempotency_key != alert.alert_id:
            raise Conflict(f"{running.deployment.deployment_id} is under way in {alert.environment}, or waits")
        row = await self._queries.deployment(alert.deployment_id)
        config = backward_config(row, self._settings)
        new = await backward(self._queries, row, by=ACTOR, idempotency_key=alert.alert_id, config=config)
        asked = await self._queries.create_deployment(new)
        started_with = deployment_input(
            self._settings.deployments,
            new,
            config,
            deployment_id=asked.deployment.deployment_id,
            model=asked.model,
            version=asked.version,
        )
        return started_with.model_dump(mode="json", by_alias=True)

    async def withdraw(self, deployment_id: str) -> None:
        await self._queries.delete_unstarted_deployment(deployment_id)


def backward_config(row: DeploymentRow, settings: Settings) -> CanaryConfig:
    """How one goes back from a deployment: as it said itself, where it said anything."""
    given = CanaryConfig.model_validate(row.deployment.strategy_config)
    return with_defaults(CanaryConfig(allow_recreate=given.allow_recreate, on_abort=given.on_abort), settings)


async def backward(
    queries: Queries, row: DeploymentRow, *, by: str, idempotency_key: str | None, config: CanaryConfig
) -> NewDeployment:
    """The deployment that goes back from an active one to the version before, with as many replicas as serve now.

    Raises Conflict where another has been deployed since, or there was none before.
    """
    environment = Environment(row.deployment.environment)
    wanted = WantedDeployments(model=row.model, environment=environment, statuses=[DeploymentStatus.ACTIVE])
    active = await queries.deployments(wanted, Window(limit=200))
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
        strategy_config=config.model_dump(mode="json", by_alias=True),
        resources=_for_the_present_load(before, row),
        initiated_by=by,
        kind=DeploymentKind.ROLLBACK,
        idempotency_key=idempotency_key,
    )


def _for_the_present_load(before: DeploymentRow, now: DeploymentRow) -> ReplicaResources:
    """What that version had, but as many of them as serve now where they are as large: `scale` may have said so."""
    had, has = (msgspec.convert(each.deployment.resources, ReplicaResources) for each in (before, now))
    alike = (had.gpus, had.cpus, had.scales_by_load) == (has.gpus, has.cpus, has.scales_by_load)
    return replace(had, replicas=has.replicas) if alike and not had.scales_by_load else had
