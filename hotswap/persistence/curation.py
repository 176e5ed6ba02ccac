"""What people take out of use: versions that are deprecated, models that are archived. Both can be restored.

Nothing is ever deleted: what served once must still be found. A version that serves goes on serving when it is
deprecated, and going back to it stays possible; a model can only be archived when nothing of it serves or is under way.
"""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.errors import Conflict, VersionNotFound
from hotswap.domain.vocabulary import VersionStatus
from hotswap.persistence.active_versions import set_version_status
from hotswap.persistence.audit import about_model, about_version
from hotswap.persistence.database import Sessions
from hotswap.persistence.queries import names, no_model
from hotswap.persistence.tables import ENDED, ActiveVersion, Deployment, Model, ModelVersion


class PostgresCuration:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def deprecate(self, model: str, version: str, *, why: str, by: str) -> None:
        """No new deployment of it from now on. Again changes the reason. Raises ModelNotFound, VersionNotFound."""
        async with self._sessions.begin() as session:
            row = await _version(session, model, version)
            before = {"deprecation": row.deprecation}
            row.is_deprecated, row.deprecation = True, why
            if row.status != VersionStatus.DEPLOYED:
                set_version_status(session, row, VersionStatus.DEPRECATED, actor=by, why=why)
            session.add(
                about_version(
                    row.version_id, actor=by, action="deprecate", why=why, before=before, after={"deprecation": why}
                )
            )

    async def restore_version(self, model: str, version: str, *, why: str | None, by: str) -> None:
        """It can be deployed again. Raises ModelNotFound, VersionNotFound, and Conflict for one in use."""
        async with self._sessions.begin() as session:
            row = await _version(session, model, version)
            if not row.is_deprecated:
                raise Conflict(f"{model} {row.version} is not deprecated; nothing is to be restored")
            before = {"deprecation": row.deprecation}
            row.is_deprecated, row.deprecation = False, None
            if row.status == VersionStatus.DEPRECATED:
                known = VersionStatus.APPROVED if row.approved_at is not None else VersionStatus.REGISTERED
                set_version_status(session, row, known, actor=by, why=why or "restored")
            session.add(
                about_version(
                    row.version_id, actor=by, action="restore", why=why, before=before, after={"deprecation": None}
                )
            )

    async def archive(self, model: str, *, why: str | None, by: str) -> None:
        """Out of the lists, and nothing new of it. Raises ModelNotFound, and Conflict while it is in use."""
        async with self._sessions.begin() as session:
            row = await _model(session, model)
            if row.is_archived:
                return
            await _check_unused(session, row)
            row.is_archived, row.updated_at = True, func.now()
            session.add(
                about_model(
                    row.model_id,
                    actor=by,
                    action="archive",
                    why=why,
                    before={"isArchived": False},
                    after={"isArchived": True},
                )
            )

    async def restore_model(self, model: str, *, why: str | None, by: str) -> None:
        """Raises ModelNotFound, and Conflict for one that is not archived."""
        async with self._sessions.begin() as session:
            row = await _model(session, model)
            if not row.is_archived:
                raise Conflict(f"{row.name} is not archived; nothing is to be restored")
            row.is_archived, row.updated_at = False, func.now()
            session.add(
                about_model(
                    row.model_id,
                    actor=by,
                    action="restore",
                    why=why,
                    before={"isArchived": True},
                    after={"isArchived": False},
                )
            )


async def _check_unused(session: AsyncSession, model: Model) -> None:
    serving = await session.scalar(
        select(ActiveVersion.environment).where(ActiveVersion.model_id == model.model_id, ActiveVersion.until.is_(None))
    )
    if serving is not None:
        raise Conflict(f"{model.name} serves {serving}; what serves can't be archived")
    under_way = await session.scalar(
        select(Deployment.deployment_id).where(Deployment.model_id == model.model_id, Deployment.status.not_in(ENDED))
    )
    if under_way is not None:
        raise Conflict(f"{under_way} of {model.name} is under way; abort it, or wait for its end")


async def _model(session: AsyncSession, model: str) -> Model:
    row: Model | None = await session.scalar(select(Model).where(names(model)).with_for_update())
    if row is None:
        raise no_model(model)
    return row


async def _version(session: AsyncSession, model: str, version: str) -> ModelVersion:
    owner = await _model(session, model)
    row: ModelVersion | None = await session.scalar(
        select(ModelVersion)
        .where(
            ModelVersion.model_id == owner.model_id,
            (ModelVersion.version == version) | (ModelVersion.version_id == version),
        )
        .with_for_update()
    )
    if row is None:
        raise VersionNotFound(f"{owner.name} has no version {version}; `hotswap models show {owner.name}` lists them")
    return row
