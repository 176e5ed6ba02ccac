"""Registration: look into the artifact, then write model and version in one transaction, or nothing at all."""

from temporalio import activity

from activities.heartbeating import heartbeating
from hotswap.domain.registry import Inspection, Registration, VersionRef
from hotswap.messages import AddVersion
from hotswap.ports import Inspector, VersionRegistrar


class RegistryActivities:
    def __init__(self, registrar: VersionRegistrar, inspector: Inspector) -> None:
        self._registrar = registrar
        self._inspector = inspector

    @activity.defn
    @heartbeating
    async def inspect_artifact(self, registration: Registration) -> Inspection:
        """Fetch, hash, unpack and read the artifact; nothing is written to the registry."""
        return await self._inspector.inspect(
            registration.artifact_path,
            framework=registration.framework,
            expected_sha256=registration.checksum,
            requirements=registration.requirements,
        )

    @activity.defn
    @heartbeating
    async def add_version(self, request: AddVersion) -> VersionRef:
        return await self._registrar.add_version(request.registration, request.inspection)
