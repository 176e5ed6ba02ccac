"""What is active where, since when, and as what: implements `hotswap.ports.Tenures`. Reads only."""

from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Select, func, select

from hotswap.domain.application import ReplicaResources
from hotswap.domain.differences import Setup
from hotswap.domain.promotion import Tenure, Term, tenure
from hotswap.domain.vocabulary import Environment, Framework, Strategy
from hotswap.persistence.database import Sessions
from hotswap.persistence.queries import names
from hotswap.persistence.tables import ActiveVersion, Deployment, Model, ModelVersion


@dataclass(frozen=True, slots=True)
class Serving:
    """What is active now, by which deployment, and all that another deployment would be compared with."""

    deployment_id: str
    application: str
    since: datetime
    setup: Setup


class PostgresTenures:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def tenure(self, model: str, environment: Environment) -> Tenure:
        async with self._sessions() as session:
            at = (await session.scalars(select(func.now()))).one()
            rows = await session.execute(_terms(model, environment))
            return tenure((Term(row.version, row.since, row.until) for row in rows), at=at)

    async def serving(self, model: str, environment: Environment) -> Serving | None:
        """None where nothing is active yet."""
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
        setup = Setup(
            version=version.version,
            framework=Framework(version.framework),
            resources=msgspec.convert(deployment.resources, ReplicaResources),
            input_schema=version.input_schema,
            output_schema=version.output_schema,
            strategy=Strategy(deployment.strategy),
            strategy_config=deployment.strategy_config,
        )
        return Serving(deployment.deployment_id, active.application, active.since, setup)


def _terms(model: str, environment: Environment) -> Select[str, datetime, datetime | None]:
    return (
        select(ModelVersion.version, ActiveVersion.since, ActiveVersion.until)
        .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
        .join(Model, Model.model_id == ActiveVersion.model_id)
        .where(names(model), ActiveVersion.environment == environment)
        # The open one first: until it closes its end is nowhere, and its beginning may be another's end.
        .order_by(ActiveVersion.until.desc().nulls_first(), ActiveVersion.id.desc())
    )
