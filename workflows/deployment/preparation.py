"""The phases before the first weight: slot, promotion rule, validation, capacity, replicas and testers.

Each phase raises DeploymentStopped where it ends the deployment. What a phase starts is on the undo log before it is
started. The approval of the start is `approvals.py`; the last check before traffic is `backtest.py`.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.capacity import CapacityActivities
    from activities.promotion import PromotionActivities
    from activities.queueing import QueueActivities
    from activities.replicas import ReplicaActivities
    from activities.traffic import TrafficActivities
    from activities.validation import ValidationActivities
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.auditing import AuditAction
    from hotswap.domain.capacity import CapacityPlan
    from hotswap.domain.ids import retirement_workflow_id
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.policy import RollBack
    from hotswap.domain.promotion import PromotionRule, unmet
    from hotswap.domain.registry import DeploymentBrief
    from hotswap.domain.traffic import Arm
    from hotswap.domain.undo import LetScaleByLoad, RemoveReplicas, WithdrawTraffic
    from hotswap.domain.verdict import Reason
    from hotswap.messages import FindActivePeriod, PlanCapacity, SetWeight, ValidateVersion
    from workflows.activity_options import inspecting, waiting
    from workflows.deployment.context import Context
    from workflows.failures import DeploymentStopped


async def take_slot(context: Context) -> None:
    """Take one of the few that may run at once. A rollback takes none, since going back must never wait."""
    message = "waits for a slot; its place in line is in the heartbeat of the pending activity"
    if context.progress.status is DeploymentStatus.PENDING:
        context.show_message(message)
    else:
        context.show_status(DeploymentStatus.PENDING, message)
    summary = "take a slot, of those for deployments under way"
    until = context.wait_until(context.request.queue_deadline)
    assert until is not None
    left = timedelta(seconds=max(1.0, until - workflow.time()))
    await context.run(
        QueueActivities.take_slot,
        context.request.deployment_id,
        summary=summary,
        options=waiting(summary, deadline=left),
        is_wait=True,
    )
    context.wait_over()


async def check_promotion_rule(context: Context, rule: PromotionRule) -> None:
    """Check the rule again: it was met when this was accepted, and what it rests on may have changed meanwhile."""
    request = context.request
    active_period = await context.run(
        PromotionActivities.find_tenure,
        FindActivePeriod(model=request.model, environment=rule.active_in),
        summary=f"what is active in {rule.active_in}",
    )
    if message := unmet(rule, active_period, model=request.model, version=request.version, to=request.environment):
        raise DeploymentStopped(RollBack(Reason.POLICY_NOT_MET, message))


async def validate(context: Context, brief: DeploymentBrief) -> None:
    """Validate the candidate's artifact, its schemas and what it answers."""
    await context.enter(DeploymentStatus.VALIDATING, "checks the artifact, its schemas and golden requests")
    summary = f"validate {brief.candidate.model} {brief.candidate.version}"
    report = await context.run(
        ValidationActivities.validate_version,
        ValidateVersion(deployment_id=brief.deployment_id, version=brief.candidate),
        summary=summary,
        options=inspecting(summary, deadline=context.request.config.progress_deadline, is_deployed=True),
    )
    if not report.passed:
        failures = "; ".join(f"{check.name}: {check.detail}" for check in report.failures)
        raise DeploymentStopped(RollBack(Reason.VALIDATION_FAILED, failures or "nothing could be validated"))


async def start_candidate(context: Context, spec: ApplicationSpec, *, is_warm: bool, immediate: bool) -> CapacityPlan:
    """Plan GPUs and CPUs, and start the candidate replicas that there is room for before any weight."""
    traffic, undo = context.traffic, context.undo
    await context.enter(DeploymentStatus.DEPLOYING, f"starts replicas as {spec.name}")
    traffic.candidate = Arm(spec.name, spec.version, spec.deployment_id)
    if is_warm:
        await _call_off_retirement(spec.name)
    arms = (traffic.candidate, traffic.stable)
    scaled_by_load = LetScaleByLoad(tuple(arm.application for arm in arms if arm is not None))
    undo.push(scaled_by_load)
    if not is_warm:
        undo.push(RemoveReplicas(spec.name))
    planned = await context.run(
        CapacityActivities.plan_capacity,
        PlanCapacity(
            spec=spec,
            stable=traffic.stable.application if traffic.stable is not None else None,
            config=context.request.config,
            immediate=immediate,
            deployment_id=context.request.deployment_id,
        ),
        summary="plan GPUs and CPUs, and reserve what the plan takes",
    )
    plan = planned.plan
    undo.replace(scaled_by_load, by=LetScaleByLoad(planned.released))
    if is_warm:
        traffic.beside_stable = {spec.name: plan.candidate}
    early = "".join(f"; {name}, which was only kept warm, makes room" for name in planned.retired)
    context.note(f"{plan.message}{early}", kind=AuditAction.CAPACITY_PLAN, actor="hotswap")
    if plan.candidate > 0:
        await context.run(ReplicaActivities.start_replicas, spec, summary=f"start {plan.candidate} of {spec.name}")
        await context.run(ReplicaActivities.warm_up, spec, summary=f"warm up {spec.name}")
    context.progress.plan = plan
    return plan


async def let_testers_in(context: Context) -> None:
    """Route the candidate without any weight: from here on it answers testers, who ask for it by header."""
    traffic = context.traffic
    context.undo.push(WithdrawTraffic())
    await context.run(
        TrafficActivities.set_weight,
        SetWeight(change=traffic.change(stable=traffic.stable, candidate=traffic.candidate), share=0, progress=0),
        summary="let testers in, and verify it",
    )


async def _call_off_retirement(application: str) -> None:
    """Keep an application that is wanted again; one that was not to be retired has nothing to call off."""
    try:
        await workflow.get_external_workflow_handle(retirement_workflow_id(application)).cancel()
    except FailureError:
        if workflow.cancellation_reason():
            raise
        workflow.logger.info("no retirement of %s to call off", application)
