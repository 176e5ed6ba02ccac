"""The team of a model, whose roles count for it: implements `hotswap.ports.Teams`."""

from sqlalchemy import select

from hotswap.domain.errors import DeploymentNotFound
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.reading import names, no_model
from hotswap.persistence.tables import Deployment, Model


class PostgresTeams:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def of(self, *, model: str | None = None, deployment_id: str | None = None) -> str | None:
        """Return the team of a model, by its id or name, or of a deployment's model; None where it has none.

        Raises ModelNotFound and DeploymentNotFound.
        """
        wanted = select(Model.model_id, Model.team)
        if deployment_id is not None:
            wanted = wanted.join(Deployment, Deployment.model_id == Model.model_id)
            wanted = wanted.where(Deployment.deployment_id == deployment_id)
        if model is not None:
            wanted = wanted.where(names(model))
        async with self._sessions() as session:
            found = (await session.execute(wanted)).one_or_none()
        if found is None:
            raise (
                no_model(model) if model is not None else DeploymentNotFound(f"there is no deployment {deployment_id}")
            )
        team: str | None = found.team
        return team
