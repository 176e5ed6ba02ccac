"""A deployment from request to Active, or back: the phases in order, and what follows when one of them ends early.

Each phase is a part that shares one `Context`: it observes, decides by pure rules of `hotswap/domain`, applies that by
an activity, and waits. What may have to be undone is on the undo log before it is done, so whatever goes wrong, in any
phase, ends in a rollback that nothing interrupts. The workflow closes when the deployment is Active; the old version's
retirement is a workflow of its own.

A run whose history has become long continues as a new one, which opens the deployment again, and so gets an epoch and
the row of its own, and goes on from the state that it was given.
"""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.deployments import DeploymentActivities
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.capacity import CapacityPlan
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.monitoring import AlertKind
    from hotswap.domain.policy import Fail, RollBack
    from hotswap.domain.registry import DeploymentBrief
    from hotswap.domain.strategy import Step, immediate_steps
    from hotswap.domain.undo import RemoveReplicas, UndoLog, WithdrawTraffic
    from hotswap.domain.verbs import START
    from hotswap.domain.verdict import Reason
    from hotswap.domain.vocabulary import DeploymentKind
    from hotswap.messages import DeploymentInput, DeploymentOutcome
    from workflows.activity_options import forward
    from workflows.attributes import ENVIRONMENT, MODEL, STATUS, VERSION
    from workflows.deployment.approvals import await_approval
    from workflows.deployment.backtest import backtest, hold_for_approval
    from workflows.deployment.commands import CommandHandlers
    from workflows.deployment.completion import activate, fail, outcome, promote, raise_alert
    from workflows.deployment.context import Context
    from workflows.deployment.preparation import (
        check_promotion_rule,
        let_testers_in,
        start_candidate,
        take_slot,
        validate,
    )
    from workflows.deployment.rollback import RollbackPhase
    from workflows.deployment.rollout import RolloutLoop
    from workflows.failures import DeploymentStopped, cause_of, has_moved, is_outcome
    from workflows.shielding import uninterrupted

LOST = RollBack(Reason.WORKFLOW_LOST, "its workflow was terminated, or never started")
RESET = RollBack(
    Reason.WORKFLOW_LOST, "its workflow was reset to a point before what it had done, which is taken back; deploy again"
)


@workflow.defn(name="Deployment")
class DeploymentWorkflow(CommandHandlers):
    @workflow.init
    def __init__(self, request: DeploymentInput) -> None:
        super().__init__(Context(request))

    @workflow.run
    async def run(self, request: DeploymentInput) -> DeploymentOutcome:
        context = self._context
        context.continues = workflow.patched("continue-as-new")
        workflow.upsert_search_attributes(
            [
                MODEL.value_set(request.model),
                VERSION.value_set(request.version),
                ENVIRONMENT.value_set(request.environment),
                STATUS.value_set(context.progress.status),
            ]
        )
        try:
            result = await self._go_forward()
        except BaseException as error:
            if not is_outcome(error):
                raise
            result = await uninterrupted(self._end(error))
            if result.reason is Reason.ROLLBACK_FAILED:
                raise ApplicationError(result.message, type=Reason.ROLLBACK_FAILED, non_retryable=True) from error
            was_aborted = context.commands.requests.abort is not None
            if is_cancelled_exception(error) or (workflow.cancellation_reason() and not was_aborted):
                raise asyncio.CancelledError from error
        await workflow.wait_condition(workflow.all_handlers_finished)
        return result

    async def _go_forward(self) -> DeploymentOutcome:
        context, request = self._context, self._context.request
        brief = await self._open()
        spec = brief.application_spec(warmup_timeout_seconds=request.warmup_timeout.total_seconds())
        if brief.status.is_terminal:
            return self._has_ended(brief)
        if request.carried is not None and brief.follows == workflow.info().continued_run_id:
            context.stop_if_aborted()
            return await self._go_on(brief, spec)
        self._forget(brief)
        context.progress.rollout = None
        if request.recover or brief.status is not DeploymentStatus.PENDING:
            return await self._recover(brief, spec, LOST if request.recover else RESET)
        found_split = brief.is_split and brief.stable is not None
        if found_split:
            context.undo.push(WithdrawTraffic())
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        if found_split:
            await RollbackPhase(context).take_back(brief.left_behind)
        if request.approval_required:
            await self._await_start()
        return await self._go_on(brief, spec)

    async def _await_start(self) -> None:
        deadline = self._context.request.config.approval_deadline
        await await_approval(self._context, START, "waits for an approval of its start", within=deadline)

    async def _go_on(self, brief: DeploymentBrief, spec: ApplicationSpec) -> DeploymentOutcome:
        """Run the phases after the start's approval; of those that an earlier run has gone through, none again."""
        context, request, progress = self._context, self._context.request, self._context.progress
        is_emergency = request.emergency is not None
        immediate = context.traffic.stable is None or request.kind is DeploymentKind.ROLLBACK or is_emergency
        plan = progress.plan
        if plan is None:
            if progress.status is DeploymentStatus.AWAITING_APPROVAL and request.carried is not None:
                await self._await_start()
            plan = await self._prepare(brief, spec, immediate=immediate)
            await backtest(context, spec, plan, immediate=immediate)
        elif progress.status is DeploymentStatus.AWAITING_APPROVAL:
            await hold_for_approval(context, progress.message)
        if progress.rollout is None and not immediate and plan.candidate > 0:
            await let_testers_in(context)
        await RolloutLoop(context, spec).run(self._steps(immediate=immediate), plan)
        if is_emergency:
            await raise_alert(context, AlertKind.EMERGENCY, self._skipped_bakes(spec))
        return await promote(context, spec, plan)

    async def _prepare(self, brief: DeploymentBrief, spec: ApplicationSpec, *, immediate: bool) -> CapacityPlan:
        """Do everything that comes before the candidate's first request."""
        context, request = self._context, self._context.request
        if request.kind is DeploymentKind.ROLLOUT:
            if request.emergency is None:
                await take_slot(context)
            if request.promotion is not None:
                await check_promotion_rule(context, request.promotion)
            await validate(context, brief)
        is_warm = brief.warm is not None and brief.warm.application == spec.name
        return await start_candidate(context, spec, is_warm=is_warm, immediate=immediate)

    async def _end(self, error: BaseException) -> DeploymentOutcome:
        """Go back, or fail with the traffic where it is, by what the forward path has ended with."""
        context, cause = self._context, cause_of(error)
        if has_moved(error):
            return await self._take_up(context.commands.requests.abort or RESET)
        try:
            return await (fail(context, cause) if isinstance(cause, Fail) else RollbackPhase(context).run(cause))
        except FailureError as late:
            if not has_moved(late):
                raise
            return await self._take_up(cause if isinstance(cause, RollBack) else RESET)

    async def _take_up(self, cause: RollBack) -> DeploymentOutcome:
        """Read anew what there is, which is more than this run knows after a reset, and end that."""
        context, request = self._context, self._context.request
        brief = await self._open()
        if brief.status.is_terminal:
            return self._has_ended(brief)
        self._forget(brief)
        spec = brief.application_spec(warmup_timeout_seconds=request.warmup_timeout.total_seconds())
        try:
            return await self._recover(brief, spec, cause)
        except DeploymentStopped:
            return await RollbackPhase(context).run(cause)

    def _forget(self, brief: DeploymentBrief) -> None:
        """Take what there is from the brief alone: what this run was given is of before a reset, or nothing."""
        self._context.traffic.stable = brief.stable
        self._context.undo = UndoLog()

    def _has_ended(self, brief: DeploymentBrief) -> DeploymentOutcome:
        """Say that it has ended, and change nothing."""
        self._context.show_status(brief.status, f"it was {brief.status} already when this run began")
        return outcome(self._context, Reason.WORKFLOW_LOST)

    async def _open(self) -> DeploymentBrief:
        """Read what to deploy, and end what was lost here: no stop gives up the answer, which says what to undo."""
        request = self._context.request
        return await uninterrupted(
            workflow.execute_activity_method(
                DeploymentActivities.open_deployment,
                request.deployment_id,
                **forward("read what to deploy", deadline=request.config.progress_deadline),
            )
        )

    async def _recover(self, brief: DeploymentBrief, spec: ApplicationSpec, cause: RollBack) -> DeploymentOutcome:
        """End what another run began: forward where its version serves already, else back."""
        context = self._context
        if brief.is_promoted and brief.status is DeploymentStatus.PROMOTING:
            return await uninterrupted(activate(context, spec))
        is_own = spec.deployment_id == brief.deployment_id  # a rollback's is another deployment's, kept warm
        if is_own and brief.warm is not None and brief.warm.application == spec.name:
            context.undo.push(RemoveReplicas(spec.name))
        if brief.status is not DeploymentStatus.PENDING:
            published = brief.is_weighted or brief.was_verified or brief.is_promoted
            context.undo.push(WithdrawTraffic(published=published, promoted=brief.is_promoted))
        raise DeploymentStopped(cause)

    def _steps(self, *, immediate: bool) -> tuple[Step, ...]:
        request = self._context.request
        if not immediate:
            return request.config.plan()
        if request.emergency is not None:
            return immediate_steps()
        if request.kind is DeploymentKind.ROLLOUT and workflow.patched("watch-first-version"):
            return request.config.first_plan()
        return immediate_steps()

    def _skipped_bakes(self, spec: ApplicationSpec) -> str:
        request = self._context.request
        return (
            f"{spec.model} {spec.version} went to 100% of {request.environment} without a bake, asked for by "
            f"{request.initiated_by}: {request.emergency}"
        )
