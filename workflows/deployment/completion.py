"""The end of a deployment: promoted to Active, failed with the traffic where it is, and the last status on record.

Promotion is a relabel: the candidate at 100% is the stable, so registry pointer and route change in one transaction and
nothing is deployed again. A rollback (`rollback.py`) ends by `close` as well.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.monitoring import MonitoringActivities
    from activities.replicas import ReplicaActivities
    from activities.traffic import TrafficActivities
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.capacity import CapacityPlan
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.monitoring import AlertKind
    from hotswap.domain.policy import Fail
    from hotswap.domain.traffic import TOTAL_WEIGHT, Arm
    from hotswap.domain.undo import WithdrawTraffic
    from hotswap.domain.verdict import Reason
    from hotswap.messages import DeploymentOutcome, RaiseAlert, RetirementInput, SetWeight
    from workflows.children import start_retirement
    from workflows.deployment.context import Context
    from workflows.shielding import uninterrupted


async def promote(context: Context, spec: ApplicationSpec, plan: CapacityPlan) -> DeploymentOutcome:
    """Make the candidate the stable version, close the deployment, and leave the old version to its retirement."""
    await context.enter(DeploymentStatus.PROMOTING, "the candidate becomes the stable version")
    context.undo.push(WithdrawTraffic(promoted=True))
    winner = Arm(spec.name, spec.version, spec.deployment_id)
    await context.run(
        TrafficActivities.make_active,
        SetWeight(
            change=context.traffic.change(stable=winner, candidate=None),
            share=TOTAL_WEIGHT,
            progress=100,
            needs={spec.name: plan.candidate_full},
        ),
        summary=f"promote {spec.model} {spec.version}",
    )
    context.stop_if_aborted()
    return await uninterrupted(activate(context, spec))


async def activate(context: Context, spec: ApplicationSpec) -> DeploymentOutcome:
    """End as Active. From here there is no way back: what is Active is rolled back by a deployment of its own."""
    message = f"{spec.model} {spec.version} serves {spec.environment}"
    result = await close(context, DeploymentStatus.ACTIVE, Reason.COMPLETED, message)
    await let_scale_by_load(context, context.undo.scaled_by_load)
    stable = context.traffic.stable
    if stable is not None and stable.application != spec.name:
        await _retire_later(context, stable.application)
    return result


async def fail(context: Context, cause: Fail) -> DeploymentOutcome:
    """End as Failed with the traffic where it is, and raise an alert; no version becomes the active one."""
    await raise_alert(context, AlertKind.FIRST_VERSION, cause.message)
    await let_scale_by_load(context, context.undo.scaled_by_load)
    return await close(context, DeploymentStatus.FAILED, cause.reason, cause.message)


async def close(context: Context, status: DeploymentStatus, reason: Reason, message: str) -> DeploymentOutcome:
    """Put the last status on record. A command that comes from now on is too late, and is told so."""
    context.show_status(status, message)
    await context.record_decisions(until_done=True)
    await context.record(context.transition(status, message, reason))
    return outcome(context, reason)


def outcome(context: Context, reason: Reason) -> DeploymentOutcome:
    progress = context.progress
    return DeploymentOutcome(
        deployment_id=context.request.deployment_id, status=progress.status, reason=reason, message=progress.message
    )


async def raise_alert(context: Context, kind: AlertKind, message: str) -> None:
    alert = RaiseAlert(deployment_id=context.request.deployment_id, kind=kind, message=message)
    await context.run_until_done(MonitoringActivities.raise_alert, alert, summary=f"raise the alert {kind}")


async def let_scale_by_load(context: Context, applications: tuple[str, ...]) -> None:
    """Let those scale by load again whose configuration says so."""
    for application in applications:
        summary = f"let {application} scale by load again"
        await context.run_until_done(ReplicaActivities.release_replicas, application, summary=summary)


async def _retire_later(context: Context, application: str) -> None:
    request = context.request
    retirement = RetirementInput(
        application=application, model=request.model, environment=request.environment, after=request.keep_previous
    )
    if await start_retirement(retirement, summary=f"retire {application} after {request.keep_previous}") is None:
        workflow.logger.info("%s is being retired already", application)
