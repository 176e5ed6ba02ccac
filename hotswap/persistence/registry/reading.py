"""Models and versions, as people read them: implements `hotswap.ports.RegistryReader`."""

from collections.abc import Sequence
from dataclasses import replace

import semver
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.errors import ModelNotFound, ValidationFailed, VersionNotFound
from hotswap.domain.paging import FIRST, Listing, Window
from hotswap.domain.registry import (
    ANY_MODEL,
    ModelEntry,
    RegisteredModel,
    RegisteredVersion,
    VersionEntry,
    VersionRef,
    WantedModels,
    chosen,
)
from hotswap.domain.vocabulary import VersionStatus
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.paging import narrowed, page, part
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.registry.versions import version_ref
from hotswap.persistence.tables import ActiveVersion, Model, ModelVersion, VersionAlias

MODELS_BY = (Model.created_at, Model.model_id)


class PostgresRegistryReader:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def model(self, id_or_name: str) -> ModelEntry:
        """Read one model. Raises ModelNotFound."""
        async with self._sessions() as session:
            model = await session.scalar(select(Model).where(names(id_or_name)))
            if model is None:
                raise no_model(id_or_name)
            (row,) = await _with_versions(session, [model])
            return row

    async def models(self, wanted: WantedModels = ANY_MODEL, window: Window = FIRST) -> Listing[ModelEntry]:
        """List models, the newest first."""
        found = narrowed(
            select(Model).where(Model.is_archived.is_(wanted.is_archived)),
            (Model.framework, wanted.framework),
            (Model.type, wanted.type),
            (Model.team, wanted.team),
            (Model.owner, wanted.owner),
        )
        if wanted.tag is not None:
            found = found.where(Model.tags.contains([wanted.tag]))
        if wanted.name is not None:
            found = found.where(Model.name.contains(wanted.name, autoescape=True))
        async with self._sessions() as session:
            rows = await page(session, found, MODELS_BY, window)
            items = await _with_versions(session, [row[0] for row in rows.items])
        return Listing(tuple(items), rows.total, rows.next)

    async def versions(self, id_or_name: str) -> list[VersionEntry]:
        """Return the versions, newest first by semantic version. Raises ModelNotFound."""
        found = await self.model(id_or_name)
        model = found.model
        async with self._sessions() as session:
            rows = await session.scalars(select(ModelVersion).where(ModelVersion.model_id == model.model_id))
            ordered = sorted(rows, key=lambda row: precedence(row.version), reverse=True)
        return [
            VersionEntry(plain(RegisteredVersion, row), version_ref(model, row), found.aliases_of(row.version))
            for row in ordered
        ]

    async def listed_versions(
        self, id_or_name: str, *, statuses: Sequence[VersionStatus] = (), window: Window = FIRST
    ) -> Listing[VersionEntry]:
        """Return a page of them. Raises ModelNotFound, and ValidationFailed for a cursor that is no version."""
        try:
            after = None if window.after is None else precedence(window.after[0])
        except ValueError:
            raise ValidationFailed.of("cursor", "is not a cursor of this list; leave it out to begin anew") from None
        rows = [row for row in await self.versions(id_or_name) if not statuses or row.version.status in statuses]
        found = part(rows, lambda row: precedence(row.version.version), replace(window, after=after), falling=True)
        return replace(found, next=None if found.next is None else found.next[1:])

    async def version(self, id_or_name: str, version: str | None = None) -> VersionEntry:
        """Find a version by its number, id or alias; without one the newest that may be deployed.

        Raises ModelNotFound, VersionNotFound.
        """
        rows = await self.versions(id_or_name)
        if (found := chosen(rows, version)) is not None:
            return found
        known = ", ".join(row.version.version for row in rows) or "none"
        raise VersionNotFound(f"model {id_or_name} has no version {version or 'to deploy'}; there is {known}")

    async def ref(self, id_or_name: str, version: str | None = None) -> VersionRef:
        """Find a version as `version` does, as the domain knows it. Raises ModelNotFound and VersionNotFound."""
        return (await self.version(id_or_name, version)).ref


def precedence(version: str) -> tuple[semver.Version, str]:
    """Return the key that versions are sorted by: semver's order, then the text. Raises ValueError."""
    return semver.Version.parse(version), version


async def check_model(session: AsyncSession, id_or_name: str) -> None:
    """Check that the model is there. Raises ModelNotFound."""
    if await session.scalar(select(Model.model_id).where(names(id_or_name))) is None:
        raise no_model(id_or_name)


def no_model(id_or_name: str) -> ModelNotFound:
    """Make the error, with what would help."""
    return ModelNotFound(f"there is no model {id_or_name}; `hotswap models list` shows those there are")


def names(id_or_name: str) -> ColumnElement[bool]:
    return or_(Model.model_id == id_or_name, Model.name == id_or_name)


async def _with_versions(session: AsyncSession, models: Sequence[Model]) -> list[ModelEntry]:
    """Return each model with its active versions and its aliases."""
    ids = [model.model_id for model in models]
    active = await session.execute(
        select(ActiveVersion.model_id, ActiveVersion.environment, ModelVersion.version)
        .join(ModelVersion, ModelVersion.version_id == ActiveVersion.version_id)
        .where(ActiveVersion.until.is_(None), ActiveVersion.model_id.in_(ids))
    )
    named = await session.execute(
        select(VersionAlias.model_id, VersionAlias.alias, ModelVersion.version)
        .join(ModelVersion, ModelVersion.version_id == VersionAlias.version_id)
        .where(VersionAlias.model_id.in_(ids))
        .order_by(VersionAlias.alias)
    )
    rows = {model.model_id: ModelEntry(plain(RegisteredModel, model), {}, {}) for model in models}
    for serving in active:
        rows[serving.model_id].active_versions[serving.environment] = serving.version
    for alias in named:
        rows[alias.model_id].aliases[alias.alias] = alias.version
    return list(rows.values())
