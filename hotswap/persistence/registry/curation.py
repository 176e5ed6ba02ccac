"""Curation of models and versions: teams, aliases, cards, deprecation, archiving. All of it can be undone.

Nothing is ever deleted: what served once must still be found. A version that serves goes on serving when it is
deprecated, and going back to it stays possible; a model can only be archived when nothing of it serves or is under way.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import AliasNotFound, Conflict, VersionNotFound
from hotswap.domain.ids import check_alias
from hotswap.domain.vocabulary import VersionStatus
from hotswap.persistence.deployments.active_versions import set_version_status
from hotswap.persistence.platform.audit import about_model, about_version
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.reading import names, no_model
from hotswap.persistence.tables import ENDED, ActiveVersion, AuditEvent, Deployment, Model, ModelVersion, VersionAlias
from hotswap.persistence.traffic.plans import renew_plan


class PostgresCuration:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def change(self, model: str, changes: Mapping[str, Any], *, by: str) -> None:
        """Change the named columns of a model. Raises ModelNotFound.

        Its team is a part of its routes, so another team makes another plan, which the caller publishes.
        """
        async with self._sessions.begin() as session:
            if "team" in changes:
                await renew_plan(session)
            row = await _model(session, model)
            before = {name: getattr(row, name) for name in changes}
            if before == changes:
                return
            for name, value in changes.items():
                setattr(row, name, value)
            row.updated_at = func.now()
            session.add(
                about_model(row.model_id, actor=by, action=AuditAction.CHANGE_MODEL, before=before, after=dict(changes))
            )

    async def name(self, model: str, alias: str, version: str, *, by: str) -> None:
        """Give the alias to this version, and so take it from another.

        Raises ModelNotFound, VersionNotFound, and ValidationFailed for what is no alias.
        """
        check_alias(alias)
        async with self._sessions.begin() as session:
            row = await _version(session, model, version)
            before = await _bearer(session, row.model_id, alias)
            if before is not None and before.version_id == row.version_id:
                return
            given = insert(VersionAlias).values(model_id=row.model_id, alias=alias, version_id=row.version_id)
            await session.execute(
                given.on_conflict_do_update(
                    index_elements=["model_id", "alias"], set_={"version_id": given.excluded.version_id}
                )
            )
            session.add(_moved(row.model_id, alias, before, row, by=by))

    async def unname(self, model: str, alias: str, *, by: str) -> None:
        """Take the alias back from whichever version has it. Raises ModelNotFound, AliasNotFound."""
        async with self._sessions.begin() as session:
            owner = await _model(session, model)
            before = await _bearer(session, owner.model_id, alias)
            if before is None:
                raise AliasNotFound(f"no version of {owner.name} is called {alias}")
            await session.execute(
                delete(VersionAlias).where(VersionAlias.model_id == owner.model_id, VersionAlias.alias == alias)
            )
            session.add(_moved(owner.model_id, alias, before, None, by=by))

    async def describe(self, model: str, version: str, card: str, *, by: str) -> None:
        """Write the version's card anew; an empty one takes it away. Raises ModelNotFound, VersionNotFound."""
        async with self._sessions.begin() as session:
            row = await _version(session, model, version)
            before = row.card
            row.card = card or None
            session.add(
                about_version(
                    row.version_id,
                    actor=by,
                    action=AuditAction.DESCRIBE,
                    before={"card": before},
                    after={"card": row.card},
                )
            )

    async def deprecate(self, model: str, version: str, *, reason: str, by: str) -> None:
        """Allow no new deployment of a version; doing it again changes the reason.

        Raises ModelNotFound and VersionNotFound.
        """
        async with self._sessions.begin() as session:
            row = await _version(session, model, version)
            before = {"deprecation": row.deprecation}
            row.is_deprecated, row.deprecation = True, reason
            if row.status != VersionStatus.DEPLOYED:
                set_version_status(session, row, VersionStatus.DEPRECATED, actor=by, reason=reason)
            session.add(
                about_version(
                    row.version_id,
                    actor=by,
                    action=AuditAction.DEPRECATE,
                    reason=reason,
                    before=before,
                    after={"deprecation": reason},
                )
            )

    async def restore_version(self, model: str, version: str, *, reason: str | None, by: str) -> None:
        """Allow deployments of a version again. Raises ModelNotFound, VersionNotFound, and Conflict for one in use."""
        async with self._sessions.begin() as session:
            row = await _version(session, model, version)
            if not row.is_deprecated:
                raise Conflict(f"{model} {row.version} is not deprecated, so there is nothing to restore")
            before = {"deprecation": row.deprecation}
            row.is_deprecated, row.deprecation = False, None
            if row.status == VersionStatus.DEPRECATED:
                known = VersionStatus.APPROVED if row.approved_at is not None else VersionStatus.REGISTERED
                set_version_status(session, row, known, actor=by, reason=reason)
            session.add(
                about_version(
                    row.version_id,
                    actor=by,
                    action=AuditAction.RESTORE,
                    reason=reason,
                    before=before,
                    after={"deprecation": None},
                )
            )

    async def archive(self, model: str, *, reason: str | None, by: str) -> None:
        """Archive a model: it leaves the lists, and accepts nothing new.

        Raises ModelNotFound, and Conflict while it is in use.
        """
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
                    action=AuditAction.ARCHIVE,
                    reason=reason,
                    before={"isArchived": False},
                    after={"isArchived": True},
                )
            )

    async def restore_model(self, model: str, *, reason: str | None, by: str) -> None:
        """Restore an archived model. Raises ModelNotFound, and Conflict for one that is not archived."""
        async with self._sessions.begin() as session:
            row = await _model(session, model)
            if not row.is_archived:
                raise Conflict(f"{row.name} is not archived, so there is nothing to restore")
            row.is_archived, row.updated_at = False, func.now()
            session.add(
                about_model(
                    row.model_id,
                    actor=by,
                    action=AuditAction.RESTORE,
                    reason=reason,
                    before={"isArchived": True},
                    after={"isArchived": False},
                )
            )


def _moved(
    model_id: str, alias: str, before: ModelVersion | None, after: ModelVersion | None, *, by: str
) -> AuditEvent:
    def said(row: ModelVersion | None) -> dict[str, str | None]:
        return {alias: row.version if row is not None else None}

    return about_model(model_id, actor=by, action=AuditAction.ALIAS, before=said(before), after=said(after))


async def _bearer(session: AsyncSession, model_id: str, alias: str) -> ModelVersion | None:
    """Return the version that has this alias."""
    found: ModelVersion | None = await session.scalar(
        select(ModelVersion)
        .join(VersionAlias, VersionAlias.version_id == ModelVersion.version_id)
        .where(VersionAlias.model_id == model_id, VersionAlias.alias == alias)
    )
    return found


async def _check_unused(session: AsyncSession, model: Model) -> None:
    serving = await session.scalar(
        select(ActiveVersion.environment).where(ActiveVersion.model_id == model.model_id, ActiveVersion.until.is_(None))
    )
    if serving is not None:
        raise Conflict(f"{model.name} serves {serving}; a model with an active version can't be archived")
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
    """Return a version by its number, its id or an alias, like `PostgresRegistryReader.version`."""
    owner = await _model(session, model)
    called = select(VersionAlias.version_id).where(
        VersionAlias.model_id == owner.model_id, VersionAlias.alias == version
    )
    row: ModelVersion | None = await session.scalar(
        select(ModelVersion)
        .where(
            ModelVersion.model_id == owner.model_id,
            or_(
                ModelVersion.version == version,
                ModelVersion.version_id == version,
                ModelVersion.version_id.in_(called),
            ),
        )
        .with_for_update()
    )
    if row is None:
        raise VersionNotFound(f"{owner.name} has no version {version}; `hotswap models show {owner.name}` lists them")
    return row
