"""The registration of versions, as people ask for it and follow it. A workflow does it: `hotswap.registry.versions`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hotswap.domain.errors import (
    Conflict,
    HotSwapError,
    ModelNotFound,
    Unavailable,
    ValidationFailed,
    VersionNotFound,
)
from hotswap.domain.registry import VersionEntry
from hotswap.messages import RegistrationInput
from hotswap.ports import RegistryReader, Teams
from hotswap.registry.workflows import RegistrationWorkflows, registration_path
from hotswap.schemas.requests import RegisterVersion
from hotswap.schemas.responses import RegistrationStatus


@dataclass(frozen=True, slots=True)
class Registrations:
    """Starts registrations, and says how far they are."""

    registry: RegistryReader
    teams: Teams
    workflows: RegistrationWorkflows

    async def team_of(self, wanted: RegisterVersion) -> str | None:
        """Return the team whose model this is or will be. A registered model keeps its team, whatever is wanted."""
        try:
            return await self.teams.of(model=wanted.name)
        except ModelNotFound:
            return wanted.team

    async def register(self, wanted: RegisterVersion, *, by: str, held_to: str | None) -> VersionEntry | None:
        """Register a version, and its model with the first one; None when that takes longer.

        `held_to` is the only team of whose models the caller may register versions; None holds the caller to no team.
        Raises Conflict for a version that is registered or is being registered, ValidationFailed naming a version that
        it is derived from and that is not registered, Unavailable, and what the registration failed with.
        """
        if await self._exists(wanted.name, wanted.version):
            raise Conflict(
                f"{wanted.name} {wanted.version} is registered already; a version never changes, so register a new one"
            )
        parents = await self._parents(wanted)
        registration = wanted.registration(requested_by=by, derived_from=parents, held_to=held_to)
        if await self.workflows.register(RegistrationInput(registration=registration)) is None:
            return None
        return await self.registry.version(wanted.name, wanted.version)

    async def status(self, model: str, version: str) -> RegistrationStatus | HotSwapError:
        """Return how far a registration is, or the error with which it failed.

        Raises VersionNotFound when there never was one, or when Temporal has forgotten it, and Unavailable.
        """
        if await self._exists(model, version):
            return RegistrationStatus.COMPLETED
        return await self.workflows.registration(model, version)

    @asynccontextmanager
    async def explaining(self, model: str, version: str | None) -> AsyncIterator[None]:
        """Let a ModelNotFound or VersionNotFound of this version say how far its registration is, if there was one."""
        try:
            yield
        except (ModelNotFound, VersionNotFound) as missing:
            explanation = await self._explanation(model, version) if version is not None else None
            if explanation is None:
                raise
            raise type(missing)(explanation) from None

    async def _explanation(self, model: str, version: str) -> str | None:
        try:
            state = await self.workflows.registration(model, version)
        except (VersionNotFound, Unavailable):
            return None
        if isinstance(state, HotSwapError):
            return f"{model} {version} is not there: its registration has failed ({state.message}); register it again"
        if state is RegistrationStatus.RUNNING:
            path = registration_path(model, version)
            return f"{model} {version} is still being registered; deploy it once GET {path} says Completed"
        return None

    async def _exists(self, model: str, version: str) -> bool:
        try:
            await self.registry.version(model, version)
        except (ModelNotFound, VersionNotFound):
            return False
        return True

    async def _parents(self, wanted: RegisterVersion) -> list[str]:
        """Return the ids of the versions that this one is made from, each once.

        Raises ValidationFailed naming what is not registered.
        """
        found = []
        for number, parent in enumerate(wanted.derived_from):
            try:
                entry = await self.registry.version(parent.model or wanted.name, parent.version)
            except (ModelNotFound, VersionNotFound) as error:
                raise ValidationFailed.of(f"derivedFrom[{number}]", error.message) from None
            found.append(entry.version.version_id)
        return list(dict.fromkeys(found))
