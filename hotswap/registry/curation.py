"""What people say of models and versions: their team, their aliases, their cards, and what is out of use.

All of it can be undone, and nothing is ever deleted: a version that once served must still be found. A version that
serves goes on serving when it is deprecated, and a rollback to it stays possible. A model can be archived only when no
version of it serves and no deployment of it is under way.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hotswap.domain.auditing import AuditAction, AuditChange
from hotswap.domain.errors import AliasNotFound, Conflict, Unavailable
from hotswap.domain.ids import check_alias
from hotswap.domain.registry import ModelUse, RegisteredVersion
from hotswap.domain.vocabulary import VersionStatus
from hotswap.ports import Curations, TrafficBus, TrafficPlans


@dataclass(frozen=True, slots=True)
class Curation:
    """Each method raises ModelNotFound, and VersionNotFound where it names a version."""

    curations: Curations
    plans: TrafficPlans
    bus: TrafficBus

    async def change(self, model: str, changes: Mapping[str, Any], *, by: str) -> None:
        """Change the named fields of a model.

        The team is a part of the model's routes, so another team makes another traffic plan, which is published.
        """
        moves = "team" in changes
        async with self.curations.begin() as curation:
            if moves:
                await curation.renew_plan()
            found = await curation.model(model)
            before = {name: getattr(found, name) for name in changes}
            if before != changes:
                audit = AuditChange(actor=by, action=AuditAction.CHANGE_MODEL, before=before, after=dict(changes))
                await curation.update_model(found, changes, audit)
        if moves:
            plan = await self.plans.current()
            with suppress(Unavailable):  # without Redis the proxies' agents ask for the plan themselves
                await self.bus.publish(plan)

    async def give_alias(self, model: str, alias: str, version: str, *, by: str) -> None:
        """Give the alias to this version, and so take it from another. Raises ValidationFailed for what is no alias."""
        check_alias(alias)
        async with self.curations.begin() as curation:
            owner = await curation.model(model)
            found = await curation.version(owner, version)
            before = await curation.alias(owner, alias)
            if before is None or before.version_id != found.version_id:
                await curation.move_alias(owner, alias, found, _moved(alias, before, found, by=by))

    async def take_alias(self, model: str, alias: str, *, by: str) -> None:
        """Take the alias from whichever version has it. Raises AliasNotFound."""
        async with self.curations.begin() as curation:
            owner = await curation.model(model)
            before = await curation.alias(owner, alias)
            if before is None:
                raise AliasNotFound(f"no version of {owner.name} is called {alias}")
            await curation.move_alias(owner, alias, None, _moved(alias, before, None, by=by))

    async def write_card(self, model: str, version: str, card: str, *, by: str) -> None:
        """Replace the version's card; an empty text takes it away."""
        async with self.curations.begin() as curation:
            found = await curation.version(await curation.model(model), version)
            after = {"card": card or None}
            audit = AuditChange(actor=by, action=AuditAction.DESCRIBE, before={"card": found.card}, after=after)
            await curation.update_version(found, after, audit)

    async def deprecate(self, model: str, version: str, *, reason: str, by: str) -> None:
        """Allow no new deployment of a version; doing it again changes the reason."""
        async with self.curations.begin() as curation:
            found = await curation.version(await curation.model(model), version)
            if found.status != VersionStatus.DEPLOYED:
                await curation.set_status(found, VersionStatus.DEPRECATED, actor=by, reason=reason)
            audit = AuditChange(
                actor=by,
                action=AuditAction.DEPRECATE,
                reason=reason,
                before={"deprecation": found.deprecation},
                after={"deprecation": reason},
            )
            await curation.update_version(found, {"is_deprecated": True, "deprecation": reason}, audit)

    async def restore_version(self, model: str, version: str, *, reason: str | None, by: str) -> None:
        """Allow deployments of a version again. Raises Conflict for one that is not deprecated."""
        async with self.curations.begin() as curation:
            found = await curation.version(await curation.model(model), version)
            if not found.is_deprecated:
                raise Conflict(f"{model} {found.version} is not deprecated, so there is nothing to restore")
            if found.status == VersionStatus.DEPRECATED:
                status = VersionStatus.APPROVED if found.approved_at is not None else VersionStatus.REGISTERED
                await curation.set_status(found, status, actor=by, reason=reason)
            audit = AuditChange(
                actor=by,
                action=AuditAction.RESTORE,
                reason=reason,
                before={"deprecation": found.deprecation},
                after={"deprecation": None},
            )
            await curation.update_version(found, {"is_deprecated": False, "deprecation": None}, audit)

    async def archive(self, model: str, *, reason: str | None, by: str) -> None:
        """Archive a model: it leaves the lists, and accepts nothing new. Raises Conflict while it is in use."""
        async with self.curations.begin() as curation:
            found = await curation.model(model)
            if found.is_archived:
                return
            _check_unused(found.name, await curation.use(found))
            audit = AuditChange(
                actor=by,
                action=AuditAction.ARCHIVE,
                reason=reason,
                before={"isArchived": False},
                after={"isArchived": True},
            )
            await curation.update_model(found, {"is_archived": True}, audit)

    async def restore_model(self, model: str, *, reason: str | None, by: str) -> None:
        """Restore an archived model. Raises Conflict for one that is not archived."""
        async with self.curations.begin() as curation:
            found = await curation.model(model)
            if not found.is_archived:
                raise Conflict(f"{found.name} is not archived, so there is nothing to restore")
            audit = AuditChange(
                actor=by,
                action=AuditAction.RESTORE,
                reason=reason,
                before={"isArchived": True},
                after={"isArchived": False},
            )
            await curation.update_model(found, {"is_archived": False}, audit)


def _moved(alias: str, before: RegisteredVersion | None, after: RegisteredVersion | None, *, by: str) -> AuditChange:
    def named(version: RegisteredVersion | None) -> dict[str, str | None]:
        return {alias: version.version if version is not None else None}

    return AuditChange(actor=by, action=AuditAction.ALIAS, before=named(before), after=named(after))


def _check_unused(name: str, use: ModelUse) -> None:
    if use.serves is not None:
        raise Conflict(f"{name} serves {use.serves}; a model with an active version can't be archived")
    if use.under_way is not None:
        raise Conflict(f"{use.under_way} of {name} is under way; abort it, or wait for its end")
