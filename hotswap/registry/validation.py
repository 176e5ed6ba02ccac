"""The validation of a version, and the override by which an Admin lets failed checks pass.

An override holds for this version, whose artifact never changes, from its next deployment on and until it is withdrawn.
"""

from collections.abc import Collection
from dataclasses import dataclass

from hotswap.domain.registry import VersionRef
from hotswap.domain.validation import LatestValidation, checks_to_override
from hotswap.ports import RegistryReader, Validations


@dataclass(frozen=True, slots=True)
class VersionValidation:
    """A version, and what validation last said of it."""

    version: VersionRef
    latest: LatestValidation


@dataclass(frozen=True, slots=True)
class ValidationOverrides:
    """Each method finds the version by its number, id or alias, and raises ModelNotFound and VersionNotFound."""

    registry: RegistryReader
    validations: Validations

    async def latest(self, model: str, version: str) -> VersionValidation:
        """Return what validation last said of a version."""
        return await self._latest(await self.registry.ref(model, version))

    async def override(
        self, model: str, version: str, *, checks: Collection[str], reason: str, by: str
    ) -> VersionValidation:
        """Let these checks pass; without any, all that failed and may be overridden.

        Raises Conflict where nothing of that kind has failed, and ValidationFailed for checks that can't be overridden.
        """
        ref = await self.registry.ref(model, version)
        let_pass = checks_to_override(await self.validations.latest(ref.version_id), checks)
        await self.validations.override(ref.version_id, checks=let_pass, reason=reason, by=by)
        return await self._latest(ref)

    async def withdraw(self, model: str, version: str, *, reason: str | None, by: str) -> VersionValidation:
        """Let no failed check pass any more. Raises NotFound where there is no override."""
        ref = await self.registry.ref(model, version)
        await self.validations.withdraw(ref.version_id, reason=reason, by=by)
        return await self._latest(ref)

    async def _latest(self, ref: VersionRef) -> VersionValidation:
        return VersionValidation(ref, await self.validations.latest(ref.version_id))
