"""Waits for a person's approval, and puts it on record with whom it came from and whether that is proven.

Who may approve, and which wait an approval ends, is decided when it comes (`workflows/deployment/commands.py`).
"""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.deployments import DeploymentActivities
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.policy import RollBack
    from hotswap.domain.verdict import Reason
    from hotswap.messages import ApprovalGiven
    from workflows.deployment.context import Context
    from workflows.failures import DeploymentStopped


async def await_approval(context: Context, gate: int, message: str, *, within: timedelta | None) -> None:
    """Wait until somebody has approved this, and put it on record; without `within` for as long as it takes."""
    commands = context.commands
    commands.gate = gate
    await context.enter(DeploymentStatus.AWAITING_APPROVAL, message)
    until, summary = context.wait_until(within), "approval must come until then"

    def is_over() -> bool:
        return commands.requests.approved == gate or commands.requests.abort is not None

    try:
        if context.continues:
            await context.wait(is_over, until=until, summary=summary)
        else:
            await workflow.wait_condition(is_over, timeout=within, timeout_summary=summary)
    except TimeoutError:
        late = f"nobody approved it within {within}: {message}"
        raise DeploymentStopped(RollBack(Reason.DEADLINE_EXCEEDED, late)) from None
    context.stop_if_aborted()
    context.wait_over()
    await record_approval(context, step=gate)


async def record_approval(context: Context, *, step: int) -> None:
    """Put the approval that ended this wait on record."""
    approval, rule = context.commands.approval, context.request.four_eyes
    assert approval is not None
    await context.run(
        DeploymentActivities.record_approval,
        ApprovalGiven(
            deployment_id=context.request.deployment_id,
            step=step,
            by=approval.by,
            claimed=approval.is_claimed,
            reason=approval.reason,
            proof=approval.proof,
            must_be_proven=rule is not None and not rule.count_claimed,
            trace_id=context.commands.approval_trace_id,
        ),
        summary=f"approved by {approval.actor}",
    )
