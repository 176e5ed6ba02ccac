"""Models and versions: what is registered, and what people say of it."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from hotswap.domain.auditing import AuditChange
from hotswap.domain.contract import Contract
from hotswap.domain.paging import FIRST, Listing, Window
from hotswap.domain.registry import (
    ANY_MODEL,
    Inspection,
    Lineage,
    ModelEntry,
    NewModel,
    NewVersion,
    RegisteredModel,
    Registration,
    VersionEntry,
    VersionRef,
    WantedModels,
)
from hotswap.domain.validation import LatestValidation, Override, ValidationReport
from hotswap.domain.vocabulary import VersionStatus


class VersionRegistrar(Protocol):
    async def add_version(self, registration: Registration, inspection: Inspection) -> VersionRef:
        """Create the model if its name is new, and the version, in one transaction.

        Raises Conflict when the version exists with another artifact; the same one again is no error.
        """


class RegistrationTransaction(Protocol):
    """Models and versions, as one registration writes them."""

    async def claim_model(self, new: NewModel) -> RegisteredModel:
        """Return the model of this name, and create it if the name is new; it is locked until the end.

        Two first versions at once so make one model.
        """

    async def find_version(self, model: RegisteredModel, version: str) -> VersionRef | None:
        """Return the model's version of this number."""

    async def check_artifact(self, artifact_path: str) -> None:
        """Keep garbage collection from the artifact until the end. Raises Conflict for one that was removed lately."""

    async def add_version(self, new: NewVersion, audit: AuditChange) -> None:
        """Store the version with its parents, and write the audit event."""

    async def update_model(self, model: RegisteredModel, changes: Mapping[str, Any], audit: AuditChange) -> None:
        """Change fields of the model, and write the audit event."""


class RegistrationTransactions(Protocol):
    def begin(self) -> AbstractAsyncContextManager[RegistrationTransaction]:
        """Run the block as one transaction, which is written as a whole or not at all."""


class Registry(Protocol):
    """What deployments ask of versions, and store with them."""

    async def store_validation(self, deployment_id: str, version_id: str, report: ValidationReport) -> None:
        """Keep the report with the deployment, and mark the version Validated when it passed."""

    async def contract_beside(self, deployment_id: str) -> Contract | None:
        """Return the contract of the version that serves in this deployment's environment; None where nothing serves.

        It also says whether the deployment may narrow the contract.
        """

    async def validation_override(self, version_id: str) -> Override | None:
        """Return the failed checks that an Admin accepted for this version, if there are any."""


class Versions(Protocol):
    async def ref(self, id_or_name: str, version: str | None = None) -> VersionRef:
        """Find the version of that number, id or alias; without one the newest that may be deployed.

        Raises ModelNotFound and VersionNotFound.
        """


class RegistryReader(Versions, Protocol):
    """Models and versions, as people read them. A model can be named by its id or by its unique name."""

    async def model(self, id_or_name: str) -> ModelEntry:
        """Read one model. Raises ModelNotFound."""

    async def models(self, wanted: WantedModels = ANY_MODEL, window: Window = FIRST) -> Listing[ModelEntry]:
        """List models, the newest first."""

    async def listed_versions(
        self, id_or_name: str, *, statuses: Sequence[VersionStatus] = (), window: Window = FIRST
    ) -> Listing[VersionEntry]:
        """List the versions of a model, the newest first by semantic version.

        Raises ModelNotFound, and ValidationFailed for a cursor that is no version.
        """

    async def version(self, id_or_name: str, version: str | None = None) -> VersionEntry:
        """Find a version by its number, id or alias; without one the newest that may be deployed.

        Raises ModelNotFound and VersionNotFound.
        """


class LineageReader(Protocol):
    async def of(self, version_id: str) -> Lineage:
        """Return the lineage of a version; it is empty if nobody recorded any."""


class Teams(Protocol):
    async def of(self, *, model: str | None = None, deployment_id: str | None = None) -> str | None:
        """Return the team of a model, by its id or name, or of a deployment's model; None where it has none.

        Raises ModelNotFound and DeploymentNotFound.
        """


class Validations(Protocol):
    """Validation reports of versions, and the overrides of failed checks."""

    async def latest(self, version_id: str) -> LatestValidation:
        """Return the report of the newest deployment that was validated, and the override that holds."""

    async def override(self, version_id: str, *, checks: Collection[str], reason: str, by: str) -> None:
        """Store the override in place of an earlier one, with an audit event in the same transaction."""

    async def withdraw(self, version_id: str, *, reason: str | None, by: str) -> None:
        """Delete the override, with an audit event in the same transaction. Raises NotFound where there is none."""
