"""The one workflow that matters: a deployment, from request to Active, or back.

It observes, asks the policy what to do (`hotswap/domain/policy.py`), applies that through an activity, and waits
(`workflows/stepping.py`). What may have to be undone is written down before it is done; whatever goes wrong, in any
phase, ends in compensation (`workflows/compensation.py`): traffic before everything, and no cancel interrupts it. It
closes when the deployment is Active; the old version's retirement is a workflow of its own.
"""

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError, WorkflowAlreadyStartedError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.backtest import BacktestActivities
    from activities.capacity import CapacityActivities
    from activities.deployments import DeploymentActivities
    from activities.promotion import PromotionActivities
    from activities.queueing import QueueActivities
    from activities.replicas import ReplicaActivities
    from activities.traffic import TrafficActivities
    from activities.validation import ValidationActivities
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.auditing import AuditAction
    from hotswap.domain.backtest import HURRIED_SECONDS, Ruled, Ruling, backtest_seconds, rule
    from hotswap.domain.capacity import CapacityPlan
    from hotswap.domain.contract import allows_non_finite
    from hotswap.domain.ids import retirement_workflow_id
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.monitoring import AlertKind
    from hotswap.domain.policy import Fail, RollBack
    from hotswap.domain.promotion import PromotionRule, unmet
    from hotswap.domain.registry import DeploymentBrief
    from hotswap.domain.strategy import Step, immediate_steps
    from hotswap.domain.traffic import FULL, Arm
    from hotswap.domain.verbs import BACKTEST, START
    from hotswap.domain.verdict import Reason
    from hotswap.domain.vocabulary import DeploymentKind
    from hotswap.messages import (
        BacktestVersion,
        DeploymentInput,
        DeploymentOutcome,
        FindTenure,
        PlanCapacity,
        RetirementInput,
        SetWeight,
        ValidateVersion,
    )
    from workflows.activity_options import forward, waiting
    from workflows.attributes import ENVIRONMENT, MODEL, STATUS, VERSION
    from workflows.failures import DeploymentStopped, cause_of, is_outcome
    from workflows.shielding import uninterrupted
    from workflows.stepping import Stepping


@workflow.defn(name="Deployment")
class DeploymentWorkflow(Stepping):
    @workflow.init
    def __init__(self, request: DeploymentInput) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: DeploymentInput) -> DeploymentOutcome:
        workflow.upsert_search_attributes(
            [
                MODEL.value_set(request.model),
                VERSION.value_set(request.version),
                ENVIRONMENT.value_set(request.environment),
                STATUS.value_set(self._status),
            ]
        )
        try:
            outcome = await self._go_forward()
        except BaseException as error:
            if not is_outcome(error):
                raise
            cause = cause_of(error)
            outcome = await uninterrupted(self._fail(cause) if isinstance(cause, Fail) else self._go_back(cause))
            if outcome.reason is Reason.ROLLBACK_FAILED:
                raise ApplicationError(outcome.message, type=Reason.ROLLBACK_FAILED, non_retryable=True) from error
            if is_cancelled_exception(error) or (workflow.cancellation_reason() and self._asked.abort is None):
                raise asyncio.CancelledError from error
        await workflow.wait_condition(workflow.all_handlers_finished)
        return outcome

    # --- forward ------------------------------------------------------------------------------------------------------

    async def _go_forward(self) -> DeploymentOutcome:
        # Whoever opens closes what was lost, so no stop gives its answer up: it says what there is to undo.
        brief = await uninterrupted(
            workflow.execute_activity_method(
                DeploymentActivities.open_deployment,
                self._request.deployment_id,
                **forward("read what to deploy", deadline=self._request.config.progress_deadline),
            )
        )
        spec = brief.application_spec(warmup_timeout_seconds=self._request.warmup_timeout.total_seconds())
        self._stable = brief.stable
        self._inherited = brief.is_split and brief.stable is not None
        if brief.status.is_terminal:
            self._show(brief.status, f"it was {brief.status} already when this run began")
            return self._outcome(Reason.WORKFLOW_LOST)
        if self._request.recover:
            return await self._recover(brief, spec)
        if workflow.cancellation_reason() is not None:
            raise asyncio.CancelledError
        if self._inherited:
            await self._take_back(brief.left_behind)
        if self._request.approval_required:
            deadline = self._request.config.approval_deadline
            await self._await_approval(START, "waits for an approval of its start", within=deadline)
        if self._request.kind is DeploymentKind.ROLLOUT:
            if self._request.emergency is None:
                await self._take_slot()
            if self._request.promotion is not None:
                await self._hold_to(self._request.promotion)
            await self._validate(brief)
        hurries = self._request.emergency is not None
        immediate = self._stable is None or self._request.kind is DeploymentKind.ROLLBACK or hurries
        is_warm = brief.warm is not None and brief.warm.application == spec.name
        plan = await self._start(spec, warm=is_warm, immediate=immediate)
        if self._request.config.backtest.samples:
            await self._backtest_it(spec, plan, immediate=immediate)
        if not immediate and plan.candidate > 0:
            await self._let_testers_in()
        await self._roll_out(spec, self._steps(immediate=immediate), plan)
        if hurries:
            await self._raise_alert(AlertKind.EMERGENCY, self._emergency(spec))
        return await self._finish(spec, plan)

    def _steps(self, *, immediate: bool) -> tuple[Step, ...]:
        if not immediate:
            return self._request.config.plan()
        if self._request.emergency is not None:
            return immediate_steps()
        if self._request.kind is DeploymentKind.ROLLOUT and workflow.patched("watch-first-version"):
            return self._request.config.first_plan()
        return immediate_steps()

    async def _recover(self, brief: DeploymentBrief, spec: ApplicationSpec) -> DeploymentOutcome:
        """End what a lost run began: forward where its version serves already, else back."""
        if brief.is_promoted and brief.status is DeploymentStatus.PROMOTING:
            return await uninterrupted(self._end_active(spec))
        self._published = brief.is_weighted or brief.was_verified or brief.is_promoted
        self._inherited = brief.status is not DeploymentStatus.PENDING
        self._promoted = brief.is_promoted
        if brief.warm is not None and brief.warm.application == spec.name:
            self._started = spec.name
        raise DeploymentStopped(RollBack(Reason.WORKFLOW_LOST, "its workflow was terminated, or never started"))

    async def _take_back(self, left_behind: str | None) -> None:
        """A candidate that a lost run left in the route gets nothing more, before anything else is done."""
        self._withdrawn = await self._do(
            TrafficActivities.withdraw_candidate,
            self._withdrawal(None),
            summary="take the traffic from what a lost deployment left, and verify it",
        )
        self._beside_stable = {left_behind: 0} if left_behind is not None else {}
        await self._bring_stable_back(self._do)
        self._inherited, self._withdrawn, self._beside_stable = False, None, {}

    async def _await_approval(self, gate: int, message: str, *, within: timedelta | None) -> None:
        """Wait until somebody has approved this, and put it on record; without `within` for as long as it takes."""
        self._gate = gate
        await self._enter(DeploymentStatus.AWAITING_APPROVAL, message)
        try:
            await workflow.wait_condition(
                lambda: self._asked.approved == gate or self._asked.abort is not None,
                timeout=within,
                timeout_summary="approval must come until then",
            )
        except TimeoutError:
            raise DeploymentStopped(
                RollBack(Reason.DEADLINE_EXCEEDED, f"nobody approved it within {within}: {message}")
            ) from None
        self._check_abort()
        assert self._approval is not None
        await self._record_approval(self._approval, step=gate)

    async def _take_slot(self) -> None:
        """One of the few that may run at once. Going back must never wait, so a rollback takes none."""
        self._message = "waits for a slot; its place in line is in the heartbeat of the pending activity"
        if self._status is DeploymentStatus.PENDING:
            self._tell()
        else:
            self._show(DeploymentStatus.PENDING, self._message)
        summary = "take a slot, of those for deployments under way"
        await self._do(
            QueueActivities.take_slot,
            self._request.deployment_id,
            summary=summary,
            options=waiting(summary, deadline=self._request.queue_deadline),
        )

    async def _hold_to(self, rule: PromotionRule) -> None:
        """It was met when this was accepted; what it rests on may have changed while this waited."""
        request = self._request
        seen = await self._do(
            PromotionActivities.find_tenure,
            FindTenure(model=request.model, environment=rule.active_in),
            summary=f"what is active in {rule.active_in}",
        )
        if why := unmet(rule, seen, model=request.model, version=request.version, to=request.environment):
            raise DeploymentStopped(RollBack(Reason.POLICY_NOT_MET, why))

    async def _validate(self, brief: DeploymentBrief) -> None:
        await self._enter(DeploymentStatus.VALIDATING, "checks the artifact, its schemas and golden requests")
        report = await self._do(
            ValidationActivities.validate_version,
            ValidateVersion(deployment_id=brief.deployment_id, version=brief.candidate),
            summary=f"validate {brief.candidate.model} {brief.candidate.version}",
        )
        if not report.passed:
            failures = "; ".join(f"{check.name}: {check.detail}" for check in report.failures)
            raise DeploymentStopped(RollBack(Reason.VALIDATION_FAILED, failures or "nothing could be validated"))

    async def _start(self, spec: ApplicationSpec, *, warm: bool, immediate: bool) -> CapacityPlan:
        """Plan GPUs and CPUs, and start the candidate replicas that there is room for before any weight."""
        await self._enter(DeploymentStatus.DEPLOYING, f"starts replicas as {spec.name}")
        self._candidate = Arm(spec.name, spec.version, spec.deployment_id)
        if warm:
            await self._keep_warm(spec.name)
        else:
            self._started = spec.name
        arms = (self._candidate, self._stable)
        self._scaled_by_load = tuple(arm.application for arm in arms if arm is not None)
        planned = await self._do(
            CapacityActivities.plan_capacity,
            PlanCapacity(
                spec=spec,
                stable=self._stable.application if self._stable is not None else None,
                config=self._request.config,
                immediate=immediate,
            ),
            summary="plan GPUs and CPUs, and reserve what the plan takes",
        )
        plan, self._scaled_by_load = planned.plan, planned.released
        if warm:
            self._beside_stable = {spec.name: plan.candidate}
        early = "".join(f"; {name}, which was only kept warm, makes room" for name in planned.retired)
        self._note(f"{plan.message}{early}", kind=AuditAction.CAPACITY_PLAN, actor="hotswap")
        if plan.candidate > 0:
            await self._do(ReplicaActivities.start_replicas, spec, summary=f"start {plan.candidate} of {spec.name}")
            await self._do(ReplicaActivities.warm_up, spec, summary=f"warm up {spec.name}")
        return plan

    async def _backtest_it(self, spec: ApplicationSpec, plan: CapacityPlan, *, immediate: bool) -> None:
        if self._request.emergency is not None and self._stable is not None:
            await self._try_in_a_hurry(spec, plan)
        elif not immediate and workflow.patched("backtest"):
            await self._try_on_records(spec, plan)

    async def _try_on_records(self, spec: ApplicationSpec, plan: CapacityPlan) -> None:
        """Ask the candidate what the stable was asked, and go back, wait for a person or go on, as the report is."""
        assert self._stable is not None
        if plan.candidate == 0:
            no_room = "no backtest: there is no room for a replica of the candidate beside the stable"
            self._note(no_room, kind=AuditAction.BACKTEST, actor="hotswap")
            return
        config = self._request.config
        ruled = await self._ruled(
            spec, budget_seconds=backtest_seconds(config.progress_deadline), deadline=config.progress_deadline
        )
        if ruled.ruling is Ruling.FAIL:
            raise DeploymentStopped(RollBack(Reason.BACKTEST_FAILED, ruled.message))
        if ruled.ruling is Ruling.HOLD:
            await self._await_approval(BACKTEST, ruled.message, within=config.pause_deadline)
            await self._enter(DeploymentStatus.DEPLOYING, "goes on, as what its backtest has found is approved")

    async def _try_in_a_hurry(self, spec: ApplicationSpec, plan: CapacityPlan) -> None:
        """Ask the candidate what the stable was asked, for seconds only; it is told, and holds nothing up."""
        if plan.candidate == 0:
            return
        try:
            await self._ruled(spec, budget_seconds=HURRIED_SECONDS, deadline=2 * timedelta(seconds=HURRIED_SECONDS))
        except FailureError as error:
            if workflow.cancellation_reason():
                raise
            failed = f"no backtest: {cause_of(error).message}; an emergency doesn't wait for it"
            self._note(failed, kind=AuditAction.BACKTEST, actor="hotswap")

    async def _ruled(self, spec: ApplicationSpec, *, budget_seconds: float, deadline: timedelta) -> Ruled:
        """Backtest it, put on record what it comes to, and answer that."""
        assert self._stable is not None
        config = self._request.config
        self._message = f"asks {spec.version} what {self._stable.version} was asked of late"
        self._tell()
        summary = f"ask {spec.version} what {self._stable.version} was asked, and compare"
        report = await self._do(
            BacktestActivities.backtest,
            BacktestVersion(
                deployment_id=self._request.deployment_id,
                model=spec.model,
                candidate=spec.name,
                stable=self._stable.application,
                samples=config.backtest.samples,
                budget_seconds=budget_seconds,
                score_tolerance=config.backtest.score_tolerance,
                allows_non_finite=allows_non_finite(spec.output_schema),
            ),
            summary=summary,
            options=forward(summary, deadline=deadline),
        )
        self._backtest = report
        ruled = rule(report, config.backtest.limits(), environment=self._request.environment)
        self._note(f"backtest: {ruled.message}", kind=AuditAction.BACKTEST, actor="hotswap")
        return ruled

    def _emergency(self, spec: ApplicationSpec) -> str:
        request = self._request
        return (
            f"{spec.model} {spec.version} went to 100% of {request.environment} without a bake, asked for by "
            f"{request.initiated_by}: {request.emergency}"
        )

    async def _let_testers_in(self) -> None:
        """Who asks for the candidate by header is answered by it from here on, while it has no weight yet."""
        self._routed = True
        self._sequence += 1
        change = self._change(stable=self._stable, candidate=self._candidate, weight=0)
        await self._do(
            TrafficActivities.set_weight,
            SetWeight(change=change, share=0, progress=0),
            summary="let testers in, and verify it",
        )

    async def _keep_warm(self, application: str) -> None:
        """Call off the retirement of an application that is wanted again; without one there is nothing to call off."""
        try:
            await workflow.get_external_workflow_handle(retirement_workflow_id(application)).cancel()
        except FailureError:
            if workflow.cancellation_reason():
                raise
            workflow.logger.info("no retirement of %s to call off", application)

    async def _finish(self, spec: ApplicationSpec, plan: CapacityPlan) -> DeploymentOutcome:
        """Promote by relabel, close the deployment, and leave the old version to its retirement."""
        await self._enter(DeploymentStatus.PROMOTING, "the candidate becomes the stable version")
        self._promoted = True
        self._sequence += 1
        winner = Arm(spec.name, spec.version, spec.deployment_id)
        await self._do(
            TrafficActivities.make_active,
            SetWeight(
                change=self._change(stable=winner, candidate=None, weight=0),
                share=FULL,
                progress=100,
                needs={spec.name: plan.candidate_full},
            ),
            summary=f"promote {spec.model} {spec.version}",
        )
        self._check_abort()
        return await uninterrupted(self._end_active(spec))

    async def _end_active(self, spec: ApplicationSpec) -> DeploymentOutcome:
        """From here there is no way back: what is Active is rolled back by a deployment of its own."""
        outcome = await self._end(
            DeploymentStatus.ACTIVE, Reason.COMPLETED, f"{spec.model} {spec.version} serves {spec.environment}"
        )
        await self._let_scale_by_load()
        if self._stable is not None and self._stable.application != spec.name:
            await self._retire_later(self._stable.application)
        return outcome

    async def _retire_later(self, application: str) -> None:
        try:
            await workflow.start_child_workflow(
                "Retirement",
                RetirementInput(
                    application=application,
                    model=self._request.model,
                    environment=self._request.environment,
                    after=self._request.keep_previous,
                ),
                id=retirement_workflow_id(application),
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                static_summary=f"retire {application} after {self._request.keep_previous}",
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("%s is being retired already", application)
