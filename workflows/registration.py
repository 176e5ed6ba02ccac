"""Registers one version durably: the artifact is looked into first, so nothing is ever half registered."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.registry import RegistryActivities
    from hotswap.domain.registry import VersionRef
    from hotswap.messages import AddVersion, RegistrationInput
    from workflows.activity_options import forward, inspecting

DEADLINE = timedelta(minutes=30)
"""A 2 GiB artifact over a slow line, and a storage outage in between."""


@workflow.defn(name="Registration")
class RegistrationWorkflow:
    @workflow.run
    async def run(self, request: RegistrationInput) -> VersionRef:
        registration = request.registration
        workflow.set_current_details(f"Registers **{registration.name} {registration.version}** from its artifact")
        inspection = await workflow.execute_activity_method(
            RegistryActivities.inspect_artifact,
            registration,
            **inspecting(f"fetch and inspect {registration.artifact_path}", deadline=DEADLINE, is_deployed=False),
        )
        return await workflow.execute_activity_method(
            RegistryActivities.add_version,
            AddVersion(registration=registration, inspection=inspection),
            **forward(f"register {registration.name} {registration.version}", deadline=DEADLINE),
        )
