"""Changes of models and versions in one transaction: implements `hotswap.ports.Curations`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditChange
from hotswap.domain.errors import VersionNotFound
from hotswap.domain.registry import ModelUse, RegisteredModel, RegisteredVersion
from hotswap.domain.vocabulary import VersionStatus
from hotswap.persistence.deployments.active_versions import set_version_status
from hotswap.persistence.platform.audit import about_model, about_version
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.registry.reading import names, no_model
from hotswap.persistence.tables import ENDED, ActiveVersion, Deployment, Model, ModelVersion, VersionAlias
from hotswap.persistence.traffic.plans import renew_plan


class PostgresCurations:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["PostgresCurationTransaction"]:
        async with self._sessions.begin() as session:
            yield PostgresCurationTransaction(session)


class PostgresCurationTransaction:
    """Implements `hotswap.ports.CurationTransaction`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def renew_plan(self) -> None:
        await renew_plan(self._session)

    async def model(self, id_or_name: str) -> RegisteredModel:
        row = await self._session.scalar(select(Model).where(names(id_or_name)).with_for_update())
        if row is None:
            raise no_model(id_or_name)
        return plain(RegisteredModel, row)

    async def version(self, model: RegisteredModel, version: str) -> RegisteredVersion:
        called = select(VersionAlias.version_id).where(
            VersionAlias.model_id == model.model_id, VersionAlias.alias == version
        )
        row = await self._session.scalar(
            select(ModelVersion)
            .where(
                ModelVersion.model_id == model.model_id,
                or_(
                    ModelVersion.version == version,
                    ModelVersion.version_id == version,
                    ModelVersion.version_id.in_(called),
                ),
            )
            .with_for_update()
        )
        if row is None:
            raise VersionNotFound(
                f"{model.name} has no version {version}; `hotswap models show {model.name}` lists them"
            )
        return plain(RegisteredVersion, row)

    async def alias(self, model: RegisteredModel, alias: str) -> RegisteredVersion | None:
        row = await self._session.scalar(
            select(ModelVersion)
            .join(VersionAlias, VersionAlias.version_id == ModelVersion.version_id)
            .where(VersionAlias.model_id == model.model_id, VersionAlias.alias == alias)
        )
        return plain(RegisteredVersion, row) if row is not None else None

    async def use(self, model: RegisteredModel) -> ModelUse:
        serves = await self._session.scalar(
            select(ActiveVersion.environment).where(
                ActiveVersion.model_id == model.model_id, ActiveVersion.until.is_(None)
            )
        )
        under_way = await self._session.scalar(
            select(Deployment.deployment_id).where(
                Deployment.model_id == model.model_id, Deployment.status.not_in(ENDED)
            )
        )
        return ModelUse(serves, under_way)

    async def update_model(self, model: RegisteredModel, changes: Mapping[str, Any], audit: AuditChange) -> None:
        row = await self._session.get_one(Model, model.model_id)
        for name, value in changes.items():
            setattr(row, name, value)
        row.updated_at = func.now()
        self._session.add(about_model(model.model_id, **asdict(audit)))

    async def update_version(self, version: RegisteredVersion, changes: Mapping[str, Any], audit: AuditChange) -> None:
        row = await self._session.get_one(ModelVersion, version.version_id)
        for name, value in changes.items():
            setattr(row, name, value)
        self._session.add(about_version(version.version_id, **asdict(audit)))

    async def set_status(
        self, version: RegisteredVersion, status: VersionStatus, *, actor: str, reason: str | None
    ) -> None:
        row = await self._session.get_one(ModelVersion, version.version_id)
        set_version_status(self._session, row, status, actor=actor, reason=reason)

    async def move_alias(
        self, model: RegisteredModel, alias: str, to: RegisteredVersion | None, audit: AuditChange
    ) -> None:
        if to is None:
            await self._session.execute(
                delete(VersionAlias).where(VersionAlias.model_id == model.model_id, VersionAlias.alias == alias)
            )
        else:
            given = insert(VersionAlias).values(model_id=model.model_id, alias=alias, version_id=to.version_id)
            await self._session.execute(
                given.on_conflict_do_update(
                    index_elements=["model_id", "alias"], set_={"version_id": given.excluded.version_id}
                )
            )
        self._session.add(about_model(model.model_id, **asdict(audit)))
