"""Validation before traffic: the report is stored whatever it says, and deciding on it is the workflow's."""

from dataclasses import replace

from temporalio import activity

from activities.heartbeating import heartbeating
from hotswap.domain.contract import kept
from hotswap.domain.validation import ValidationReport
from hotswap.messages import ValidateVersion
from hotswap.ports import Inspector, Registry


class ValidationActivities:
    def __init__(self, registry: Registry, inspector: Inspector) -> None:
        self._registry = registry
        self._inspector = inspector

    @activity.defn
    @heartbeating
    async def validate_version(self, request: ValidateVersion) -> ValidationReport:
        """Look at the version and at what it would stand beside, and let pass what an Admin said may."""
        version = request.version
        report = await self._inspector.validate(version)
        contract = await self._registry.contract_beside(request.deployment_id)
        report = report.with_check(kept(contract, version.input_schema, version.output_schema))
        report = replace(report, override=await self._registry.validation_override(version.version_id))
        await self._registry.store_validation(request.deployment_id, version.version_id, report)
        return report
