"""Changes of models and versions, each in one transaction that is written as a whole or not at all."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from hotswap.domain.auditing import AuditChange
from hotswap.domain.registry import ModelUse, RegisteredModel, RegisteredVersion
from hotswap.domain.vocabulary import VersionStatus


class CurationTransaction(Protocol):
    """The models and versions that it reads are locked until its end."""

    async def renew_plan(self) -> None:
        """Make a new generation of the traffic plan, which the caller publishes after the transaction.

        To be called before a model is read, since every transaction takes the plan's lock first.
        """

    async def model(self, id_or_name: str) -> RegisteredModel:
        """Return a model. Raises ModelNotFound."""

    async def version(self, model: RegisteredModel, version: str) -> RegisteredVersion:
        """Return a version of the model, by its number, its id or an alias. Raises VersionNotFound."""

    async def alias(self, model: RegisteredModel, alias: str) -> RegisteredVersion | None:
        """Return the version that has this alias."""

    async def use(self, model: RegisteredModel) -> ModelUse:
        """Return what keeps the model in use."""

    async def update_model(self, model: RegisteredModel, changes: Mapping[str, Any], audit: AuditChange) -> None:
        """Change fields of the model, and write the audit event."""

    async def update_version(self, version: RegisteredVersion, changes: Mapping[str, Any], audit: AuditChange) -> None:
        """Change fields of the version, and write the audit event."""

    async def set_status(
        self, version: RegisteredVersion, status: VersionStatus, *, actor: str, reason: str | None
    ) -> None:
        """Change the status of the version, and write an audit event; nothing where it has that status already."""

    async def move_alias(
        self, model: RegisteredModel, alias: str, to: RegisteredVersion | None, audit: AuditChange
    ) -> None:
        """Give the alias to this version, or to none, and write the audit event."""


class Curations(Protocol):
    def begin(self) -> AbstractAsyncContextManager[CurationTransaction]:
        """Run the block as one transaction."""
