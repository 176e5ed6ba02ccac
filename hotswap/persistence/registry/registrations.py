"""What a registration writes, in one transaction: implements `hotswap.ports.RegistrationTransactions`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditChange
from hotswap.domain.registry import NewModel, NewVersion, RegisteredModel, VersionRef
from hotswap.domain.vocabulary import VersionStatus
from hotswap.persistence.platform.audit import about_model, about_version
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.registry.garbage import guard
from hotswap.persistence.registry.versions import version_ref
from hotswap.persistence.tables import Model, ModelVersion, VersionParent


class PostgresRegistrations:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @asynccontextmanager
    async def begin(self) -> AsyncIterator["PostgresRegistrationTransaction"]:
        async with self._sessions.begin() as session:
            yield PostgresRegistrationTransaction(session)


class PostgresRegistrationTransaction:
    """Implements `hotswap.ports.RegistrationTransaction`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim_model(self, new: NewModel) -> RegisteredModel:
        wanted = insert(Model).values(**asdict(new)).on_conflict_do_nothing(index_elements=["name"])
        await self._session.execute(wanted)
        row = await self._session.scalar(select(Model).where(Model.name == new.name).with_for_update())
        assert row is not None
        found = plain(RegisteredModel, row)
        await self._session.execute(update(Model).where(Model.model_id == found.model_id).values(updated_at=func.now()))
        return found

    async def find_version(self, model: RegisteredModel, version: str) -> VersionRef | None:
        row = await self._session.scalar(
            select(ModelVersion).where(ModelVersion.model_id == model.model_id, ModelVersion.version == version)
        )
        return version_ref(model, row) if row is not None else None

    async def check_artifact(self, artifact_path: str) -> None:
        await guard(self._session, artifact_path)

    async def add_version(self, new: NewVersion, audit: AuditChange) -> None:
        ref = new.ref
        self._session.add(
            ModelVersion(
                version_id=ref.version_id,
                model_id=ref.model_id,
                version=ref.version,
                framework=ref.framework,
                artifact_path=ref.artifact.uri,
                checksum=ref.artifact.sha256,
                artifact_size_bytes=ref.artifact.size_bytes,
                input_schema=ref.input_schema,
                output_schema=ref.output_schema,
                training=new.training,
                baseline=ref.baseline,
                reference_distribution=new.reference_distribution,
                requirements=list(ref.requirements),
                status=VersionStatus.REGISTERED,
                created_by=new.created_by,
            )
        )
        await self._session.flush()  # before what refers to it
        self._session.add_all(VersionParent(version_id=ref.version_id, parent_id=parent) for parent in new.derived_from)
        self._session.add(about_version(ref.version_id, **asdict(audit)))

    async def update_model(self, model: RegisteredModel, changes: Mapping[str, Any], audit: AuditChange) -> None:
        await self._session.execute(update(Model).where(Model.model_id == model.model_id).values(**changes))
        self._session.add(about_model(model.model_id, **asdict(audit)))
