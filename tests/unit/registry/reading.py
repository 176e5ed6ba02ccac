"""The registry as `hotswap.registry` reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hotswap.domain.errors import ModelNotFound, VersionNotFound
from hotswap.domain.paging import FIRST, Listing, Window
from hotswap.domain.registry import ANY_MODEL, ModelEntry, VersionEntry, VersionRef, WantedModels
from hotswap.domain.vocabulary import VersionStatus


@dataclass
class FakeRegistryReader:
    """Models by what they are asked for by, and their versions the same way."""

    known: Mapping[str, ModelEntry] = field(default_factory=dict)
    versions: Mapping[tuple[str, str | None], VersionEntry] = field(default_factory=dict)

    async def model(self, id_or_name: str) -> ModelEntry:
        if id_or_name not in self.known:
            raise ModelNotFound(f"there is no model {id_or_name}")
        return self.known[id_or_name]

    async def version(self, id_or_name: str, version: str | None = None) -> VersionEntry:
        if (id_or_name, version) not in self.versions:
            raise VersionNotFound(f"model {id_or_name} has no version {version}")
        return self.versions[id_or_name, version]

    async def ref(self, id_or_name: str, version: str | None = None) -> VersionRef:
        return (await self.version(id_or_name, version)).ref

    async def models(self, wanted: WantedModels = ANY_MODEL, window: Window = FIRST) -> Listing[ModelEntry]:
        raise NotImplementedError

    async def listed_versions(
        self, id_or_name: str, *, statuses: Sequence[VersionStatus] = (), window: Window = FIRST
    ) -> Listing[VersionEntry]:
        raise NotImplementedError
