"""The active versions of each environment, now and in the past: implements `hotswap.ports.ActivationHistoryReader`.

It only reads.
"""

from datetime import datetime

import msgspec
from sqlalchemy import Select, func, or_, select

from hotswap.domain.application import ReplicaResources
from hotswap.domain.deployments import ActiveDeployment, Served
from hotswap.domain.differences import Setup
from hotswap.domain.paging import FIRST, Listing, Window
from hotswap.domain.promotion import Activation, ActivePeriod, active_period
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.deployments.applications import recording_of
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.paging import page
from hotswap.persistence.registry.reading import check_model, names
from hotswap.persistence.tables import ActiveVersion, Approval, Deployment, Model, ModelVersion

HISTORY_BY = (ActiveVersion.since, ActiveVersion.id)


class PostgresActivationHistory:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def active_period(self, model: str, environment: Environment) -> ActivePeriod:
        async with self._sessions() as session:
            at = (await session.scalars(select(func.now()))).one()
            rows = await session.execute(_activations(model, environment))
            return active_period((Activation(row.version, row.since, row.until) for row in rows), at=at)

    async def history(
        self,
        model: str,
        *,
        environment: Environment | None = None,
        at: datetime | None = None,
        window: Window = FIRST,
    ) -> Listing[Served]:
        wanted = (
            select(ActiveVersion, ModelVersion.version, Deployment)
            .join(Model, Model.model_id == ActiveVersion.model_id)
            .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
            .join(Deployment, Deployment.deployment_id == ActiveVersion.deployment_id)
            .where(names(model))
        )
        if environment is not None:
            wanted = wanted.where(ActiveVersion.environment == environment)
        if at is not None:
            ends_later = or_(ActiveVersion.until.is_(None), ActiveVersion.until > at)
            wanted = wanted.where(ActiveVersion.since <= at, ends_later)
        async with self._sessions() as session:
            await check_model(session, model)
            found = await page(session, wanted, HISTORY_BY, window)
            rows = [(row[0], row[1], row[2]) for row in found.items]
            approved = await session.execute(
                select(Approval.deployment_id, Approval.approved_by)
                .where(Approval.deployment_id.in_([deployment.deployment_id for _, _, deployment in rows]))
                .order_by(Approval.approved_at)
            )
            by_deployment: dict[str, list[str]] = {}
            for deployment_id, by in approved:
                by_deployment.setdefault(deployment_id, []).append(by)
        items = tuple(
            Served(
                active.environment,
                version,
                active.deployment_id,
                deployment.kind,
                deployment.initiated_by,
                tuple(by_deployment.get(active.deployment_id, ())),
                active.since,
                active.until,
            )
            for active, version, deployment in rows
        )
        return Listing(items, found.total, found.next)

    async def serving(self, model: str, environment: Environment) -> ActiveDeployment | None:
        """Return what is active; None where nothing is active yet."""
        wanted = (
            select(ActiveVersion, Deployment, ModelVersion)
            .join(Deployment, Deployment.deployment_id == ActiveVersion.deployment_id)
            .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
            .join(Model, Model.model_id == ActiveVersion.model_id)
            .where(names(model), ActiveVersion.environment == environment, ActiveVersion.until.is_(None))
        )
        async with self._sessions() as session:
            found = (await session.execute(wanted)).first()
            if found is None:
                return None
            active, deployment, version = found
            recording = await recording_of(session, active.application)
        setup = Setup(
            version=version.version,
            framework=version.framework,
            resources=msgspec.convert(deployment.resources, ReplicaResources),
            input_schema=version.input_schema,
            output_schema=version.output_schema,
            strategy=deployment.strategy,
            strategy_config=deployment.strategy_config,
            recording=recording,
        )
        return ActiveDeployment(deployment.deployment_id, active.application, active.since, setup)


def _activations(model: str, environment: Environment) -> Select[str, datetime, datetime | None]:
    return (
        select(ModelVersion.version, ActiveVersion.since, ActiveVersion.until)
        .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
        .join(Model, Model.model_id == ActiveVersion.model_id)
        .where(names(model), ActiveVersion.environment == environment)
        # The open one first: until it closes its end is nowhere, and its beginning may be another's end.
        .order_by(ActiveVersion.until.desc().nulls_first(), ActiveVersion.id.desc())
    )
