"""The backtest: the candidate is asked what the stable was asked of late, before any client meets it.

What the report comes to, `hotswap/domain/backtest.py` rules: the deployment goes on, waits for a person, or ends. In an
emergency it takes seconds, is on record, and holds nothing up.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.backtest import BacktestActivities
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.auditing import AuditAction
    from hotswap.domain.backtest import HURRIED_SECONDS, Ruled, Ruling, backtest_seconds, rule
    from hotswap.domain.capacity import CapacityPlan
    from hotswap.domain.contract import allows_non_finite
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.policy import RollBack
    from hotswap.domain.traffic import Arm
    from hotswap.domain.verbs import BACKTEST
    from hotswap.domain.verdict import Reason
    from hotswap.messages import BacktestVersion
    from workflows.activity_options import forward
    from workflows.deployment.approvals import await_approval
    from workflows.deployment.context import Context
    from workflows.failures import DeploymentStopped, cause_of


async def backtest(context: Context, spec: ApplicationSpec, plan: CapacityPlan, *, immediate: bool) -> None:
    """Run the backtest where the configuration asks for one and there is a stable to compare with."""
    stable = context.traffic.stable
    if not context.request.config.backtest.samples or stable is None:
        return
    if context.request.emergency is not None:
        await _run_for_seconds(context, spec, stable, plan)
    elif not immediate and workflow.patched("backtest"):
        await _run(context, spec, stable, plan)


async def _run(context: Context, spec: ApplicationSpec, stable: Arm, plan: CapacityPlan) -> None:
    """Go back, wait for a person or go on, as the report is."""
    if plan.candidate == 0:
        no_room = "no backtest: there is no room for a replica of the candidate beside the stable"
        context.note(no_room, kind=AuditAction.BACKTEST, actor="hotswap")
        return
    config = context.request.config
    budget = backtest_seconds(config.progress_deadline)
    ruled = await _compare(context, spec, stable, budget_seconds=budget, deadline=config.progress_deadline)
    if ruled.ruling is Ruling.FAIL:
        raise DeploymentStopped(RollBack(Reason.BACKTEST_FAILED, ruled.message))
    if ruled.ruling is Ruling.HOLD:
        await hold_for_approval(context, ruled.message)


async def hold_for_approval(context: Context, message: str) -> None:
    """Wait until a person has approved what the backtest has found."""
    await await_approval(context, BACKTEST, message, within=context.request.config.pause_deadline)
    await context.enter(DeploymentStatus.DEPLOYING, "goes on, as what its backtest has found is approved")


async def _run_for_seconds(context: Context, spec: ApplicationSpec, stable: Arm, plan: CapacityPlan) -> None:
    """Put on record what a few seconds show, and go on."""
    if plan.candidate == 0:
        return
    deadline = 2 * timedelta(seconds=HURRIED_SECONDS)
    try:
        await _compare(context, spec, stable, budget_seconds=HURRIED_SECONDS, deadline=deadline)
    except FailureError as error:
        if workflow.cancellation_reason():
            raise
        failed = f"no backtest: {cause_of(error).message}; an emergency doesn't wait for it"
        context.note(failed, kind=AuditAction.BACKTEST, actor="hotswap")


async def _compare(
    context: Context, spec: ApplicationSpec, stable: Arm, *, budget_seconds: float, deadline: timedelta
) -> Ruled:
    """Ask both versions, put on record what it comes to, and answer that."""
    config = context.request.config.backtest
    context.show_message(f"asks {spec.version} what {stable.version} was asked of late")
    summary = f"ask {spec.version} what {stable.version} was asked, and compare"
    report = await context.run(
        BacktestActivities.backtest,
        BacktestVersion(
            deployment_id=context.request.deployment_id,
            model=spec.model,
            candidate=spec.name,
            stable=stable.application,
            samples=config.samples,
            budget_seconds=budget_seconds,
            score_tolerance=config.score_tolerance,
            allows_non_finite=allows_non_finite(spec.output_schema),
        ),
        summary=summary,
        options=forward(summary, deadline=deadline),
    )
    context.progress.backtest = report
    ruled = rule(report, config.limits(), environment=context.request.environment)
    context.note(f"backtest: {ruled.message}", kind=AuditAction.BACKTEST, actor="hotswap")
    return ruled
