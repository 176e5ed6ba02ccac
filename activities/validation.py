"""Validation before traffic: the report is stored whatever it says, and deciding on it is the workflow's."""

from temporalio import activity

from activities.acting import acting
from hotswap.domain.registry import ValidationReport
from hotswap.messages import ValidateVersion
from hotswap.ports import Inspector, Registry


class ValidationActivities:
    def __init__(self, registry: Registry, inspector: Inspector) -> None:
        self._registry = registry
        self._inspector = inspector

    @activity.defn
    @acting
    async def validate_version(self, request: ValidateVersion) -> ValidationReport:
        report = await self._inspector.validate(request.version)
        await self._registry.store_validation(request.deployment_id, request.version.version_id, report)
        return report
