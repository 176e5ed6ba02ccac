"""The one workflow that matters: a deployment, from request to Active, or back.

It observes, asks the policy what to do (`hotswap/domain/policy.py`), applies that through an activity, and waits. What
may have to be undone is written down before it is done; whatever goes wrong, in any phase, ends in compensation:
traffic before everything, and no cancel interrupts it. It closes when the deployment is Active; the old version's
retirement is a workflow of its own.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar, assert_never

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, FailureError, WorkflowAlreadyStartedError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.analysis import AnalysisActivities
    from activities.deployments import DeploymentActivities
    from activities.replicas import ReplicaActivities
    from activities.traffic import TrafficActivities
    from activities.validation import ValidationActivities
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.ids import retirement_workflow_id
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.policy import Bake, GoTo, Promote, RollBack, Rollout, SetWeight, Wait, next_action
    from hotswap.domain.registry import DeploymentBrief
    from hotswap.domain.strategy import immediate_steps
    from hotswap.domain.traffic import FULL, Arm, Counts
    from hotswap.domain.verdict import Outcome, Reason, Verdict
    from hotswap.domain.vocabulary import DeploymentKind
    from hotswap.messages import (
        ApprovalGiven,
        DeploymentInput,
        DeploymentOutcome,
        RetirementInput,
        ValidateVersion,
        VerifiedWeight,
        Watch,
    )
    from hotswap.messages import SetWeight as SetWeightRequest
    from workflows.calls import BAKE_GRACE, GoBack, cause_of, forward, watching
    from workflows.compensation import STATUS, WEIGHT, Compensation
    from workflows.saga import is_outcome, uninterrupted

Given = TypeVar("Given")
Result = TypeVar("Result")

MODEL = SearchAttributeKey.for_keyword("HotSwapModel")
VERSION = SearchAttributeKey.for_keyword("HotSwapVersion")
ENVIRONMENT = SearchAttributeKey.for_keyword("HotSwapEnvironment")


@workflow.defn(name="Deployment")
class DeploymentWorkflow(Compensation):
    @workflow.init
    def __init__(self, request: DeploymentInput) -> None:
        super().__init__(request)
        self._first: VerifiedWeight | None = None
        self._latest: VerifiedWeight | None = None
        self._log_evidence = 0.0

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
            if not (isinstance(error, GoBack) or is_outcome(error)):
                raise
            outcome = await uninterrupted(self._go_back(cause_of(error)))
            if outcome.reason is Reason.ROLLBACK_FAILED:
                raise ApplicationError(outcome.message, type=Reason.ROLLBACK_FAILED, non_retryable=True) from error
            if is_cancelled_exception(error) or (workflow.cancellation_reason() and self._asked.abort is None):
                raise asyncio.CancelledError from error
        await workflow.wait_condition(workflow.all_handlers_finished)
        return outcome

    # --- forward ------------------------------------------------------------------------------------------------------

    async def _go_forward(self) -> DeploymentOutcome:
        brief = await self._do(
            DeploymentActivities.open_deployment, self._request.deployment_id, summary="read what to deploy"
        )
        spec = brief.application_spec(warmup_timeout_seconds=self._request.warmup_timeout.total_seconds())
        self._stable = brief.stable
        self._inherited = brief.is_split and brief.stable is not None
        if brief.status.is_terminal:
            self._show(brief.status, f"it was {brief.status} already when this run began")
            return self._outcome(Reason.WORKFLOW_LOST)
        if self._request.recover:
            return await self._recover(brief, spec)
        if self._inherited:
            await self._take_back()
        if self._request.approval_required:
            await self._await_approval()
        if self._request.kind is DeploymentKind.ROLLOUT:
            await self._validate(brief)
        await self._start(spec, warm=brief.warm is not None and brief.warm.application == spec.name)
        await self._roll_out(Arm(spec.name, spec.version, spec.deployment_id))
        return await self._finish(spec)

    async def _recover(self, brief: DeploymentBrief, spec: ApplicationSpec) -> DeploymentOutcome:
        """End what a lost run began: forward where its version serves already, else back."""
        if brief.is_promoted and brief.status is DeploymentStatus.PROMOTING:
            return await uninterrupted(self._end_active(spec))
        self._published = brief.is_split or brief.was_verified or brief.is_promoted
        self._inherited = brief.status is not DeploymentStatus.PENDING
        self._promoted = brief.is_promoted
        if brief.warm is not None and brief.warm.application == spec.name:
            self._started = spec.name
        raise GoBack(RollBack(Reason.WORKFLOW_LOST, "its workflow was terminated, or never started"))

    async def _take_back(self) -> None:
        """A candidate that a lost run left in the route gets nothing more, before anything else is done."""
        self._sequence += 1
        await self._do(
            TrafficActivities.set_weight,
            SetWeightRequest(change=self._change(stable=self._stable, candidate=None, weight=0), share=0, progress=0),
            summary="take the traffic from what a lost deployment left, and verify it",
        )
        self._inherited = False

    async def _await_approval(self) -> None:
        await self._enter(DeploymentStatus.AWAITING_APPROVAL, "waits for an approval of its start")
        deadline = self._request.config.approval_deadline
        try:
            await workflow.wait_condition(
                lambda: self._approval is not None or self._asked.abort is not None,
                timeout=deadline,
                timeout_summary="approval must come until then",
            )
        except TimeoutError:
            raise GoBack(RollBack(Reason.DEADLINE_EXCEEDED, f"nobody approved it within {deadline}")) from None
        self._check_abort()
        assert self._approval is not None
        await self._do(
            DeploymentActivities.record_approval,
            ApprovalGiven(
                deployment_id=self._request.deployment_id,
                step=0,
                by=self._approval.by,
                claimed=self._approval.is_claimed,
            ),
            summary=f"approved by {self._approval.actor}",
        )

    async def _validate(self, brief: DeploymentBrief) -> None:
        await self._enter(DeploymentStatus.VALIDATING, "checks the artifact, its schemas and golden requests")
        report = await self._do(
            ValidationActivities.validate_version,
            ValidateVersion(deployment_id=brief.deployment_id, version=brief.candidate),
            summary=f"validate {brief.candidate.model} {brief.candidate.version}",
        )
        if not report.passed:
            failures = "; ".join(f"{check.name}: {check.detail}" for check in report.failures)
            raise GoBack(RollBack(Reason.VALIDATION_FAILED, failures or "nothing could be validated"))

    async def _start(self, spec: ApplicationSpec, *, warm: bool) -> None:
        await self._enter(DeploymentStatus.DEPLOYING, f"starts {spec.resources.replicas} replicas as {spec.name}")
        if warm:
            await self._keep_warm(spec.name)
        else:
            self._started = spec.name
        await self._do(ReplicaActivities.start_replicas, spec, summary=f"start replicas of {spec.name}")
        await self._do(ReplicaActivities.warm_up, spec, summary=f"warm up {spec.name}")

    async def _keep_warm(self, application: str) -> None:
        """Call off the retirement of an application that is wanted again; without one there is nothing to call off."""
        try:
            await workflow.get_external_workflow_handle(retirement_workflow_id(application)).cancel()
        except FailureError:
            if workflow.cancellation_reason():
                raise
            workflow.logger.info("no retirement of %s to call off", application)

    async def _roll_out(self, candidate: Arm) -> None:
        """Set, verify, bake and judge, as the policy says, until there is nothing left but to promote."""
        await self._enter(DeploymentStatus.PROGRESSING, "shifts traffic")
        steps = immediate_steps() if self._is_unjudged else self._request.config.steps()
        self._rollout = Rollout(steps)
        while True:
            await self._record_decisions()
            action = next_action(self._rollout, self._asked, now=workflow.time())
            match action:
                case SetWeight(weight):
                    await self._set_weight(candidate, weight)
                case Bake():
                    await self._bake(candidate, action)
                case Wait(until):
                    await self._wait(until)
                case GoTo():
                    self._go_to(action)
                case RollBack():
                    raise GoBack(action)
                case Promote():
                    return
                case never:
                    assert_never(never)
            self._tell()

    async def _set_weight(self, candidate: Arm, weight: int) -> None:
        assert self._rollout is not None
        self._published = True
        self._sequence += 1
        verified = await self._do(
            TrafficActivities.set_weight,
            SetWeightRequest(
                change=self._change(stable=self._stable, candidate=candidate, weight=weight),
                share=weight,
                progress=self._rollout.progress,
            ),
            summary=f"set and verify {weight / 100:g}%",
        )
        self._first = self._first or verified
        self._latest = verified
        self._verified_weight = verified.weight
        self._rollout = self._rollout.verified(at=workflow.time())
        workflow.upsert_search_attributes([WEIGHT.value_set(verified.weight / 100)])

    async def _bake(self, candidate: Arm, bake: Bake) -> None:
        assert self._rollout is not None
        remaining = timedelta(seconds=bake.deadline - workflow.time()) + BAKE_GRACE
        weight = f"{self._verified_weight / 100:g}%"
        watch = workflow.start_activity_method(
            AnalysisActivities.watch,
            self._watch(candidate, bake),
            **watching(f"judge candidate against stable at {weight}", deadline=remaining),
        )
        watch.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await workflow.wait_condition(
                lambda: watch.done() or self._is_interrupted,
                timeout=remaining,
                timeout_summary=f"bake at {weight}, with its deadline",
            )
            if not watch.done():
                return
            verdict = await watch
        except TimeoutError:
            verdict = self._no_verdict(Outcome.INCONCLUSIVE, "the watch said nothing until the bake's deadline")
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            verdict = self._no_verdict(Outcome.ERROR, f"the watch failed: {cause_of(error).message}")
        finally:
            if not watch.done():
                watch.cancel()
        self._rollout = self._rollout.judged(verdict)

    def _watch(self, candidate: Arm, bake: Bake) -> Watch:
        assert self._rollout is not None
        assert self._latest is not None
        assert self._first is not None
        assert self._stable is not None
        reference: Counts | None = None
        if self._verified_weight == FULL:
            reference = self._latest.stable - self._first.stable
            if reference.good < self._request.config.minimum_requests:
                reference = self._latest.stable
        return Watch(
            deployment_id=self._request.deployment_id,
            step=self._rollout.position,
            weight=self._verified_weight,
            candidate=candidate.application,
            stable=self._stable.application,
            baseline=self._latest,
            reference=reference,
            prior_log_evidence=self._log_evidence,
            minimum_requests=self._request.config.minimum_requests,
            thresholds=self._request.config.thresholds(),
            bake_until=bake.until,
            deadline=bake.deadline,
        )

    def _no_verdict(self, outcome: Outcome, message: str) -> Verdict:
        return Verdict(outcome, message, log_evidence=self._log_evidence)

    async def _wait(self, until: float) -> None:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._is_interrupted,
                timeout=timedelta(seconds=max(0.0, until - workflow.time())),
                timeout_summary="rest of the bake",
            )

    def _go_to(self, action: GoTo) -> None:
        assert self._rollout is not None
        if self._rollout.verdict is not None:
            self._log_evidence = self._rollout.verdict.log_evidence
        self._message = action.why
        self._rollout = self._rollout.at_step(action.position)
        self._asked = replace(self._asked, promote=False, promote_full=False)

    async def _finish(self, spec: ApplicationSpec) -> DeploymentOutcome:
        """Promote by relabel, close the deployment, and leave the old version to its retirement."""
        await self._enter(DeploymentStatus.PROMOTING, "the candidate becomes the stable version")
        self._promoted = True
        self._sequence += 1
        winner = Arm(spec.name, spec.version, spec.deployment_id)
        await self._do(
            TrafficActivities.make_active,
            SetWeightRequest(change=self._change(stable=winner, candidate=None, weight=0), share=FULL, progress=100),
            summary=f"promote {spec.model} {spec.version}",
        )
        self._check_abort()
        return await uninterrupted(self._end_active(spec))

    async def _end_active(self, spec: ApplicationSpec) -> DeploymentOutcome:
        """From here there is no way back: what is Active is rolled back by a deployment of its own."""
        outcome = await self._end(
            DeploymentStatus.ACTIVE, Reason.COMPLETED, f"{spec.model} {spec.version} serves {spec.environment}"
        )
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

    # --- small parts --------------------------------------------------------------------------------------------------

    async def _do(self, method: Callable[[Any, Given], Awaitable[Result]], given: Given, *, summary: str) -> Result:
        """Call an activity, but turn back at once when an abort is asked for meanwhile."""
        self._check_abort()
        options = forward(summary, deadline=self._request.config.progress_deadline)
        call: workflow.ActivityHandle[Result] = workflow.start_activity_method(method, args=[given], **options)
        call.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await workflow.wait_condition(lambda: call.done() or self._asked.abort is not None)
            if not call.done():
                self._check_abort()
            return await call
        finally:
            if not call.done():
                call.cancel()

    def _check_abort(self) -> None:
        if self._asked.abort is not None:
            raise GoBack(self._asked.abort)

    @property
    def _is_interrupted(self) -> bool:
        return self._asked.abort is not None or self._asked.promote or self._asked.promote_full

    @property
    def _is_unjudged(self) -> bool:
        return self._stable is None or self._request.kind is DeploymentKind.ROLLBACK

    async def _enter(self, status: DeploymentStatus, message: str) -> None:
        self._show(status, message)
        await self._do(
            DeploymentActivities.record_transition, self._transition(status, message, None), summary=str(status)
        )

    async def _record_decisions(self) -> None:
        while self._unrecorded:
            await self._do(DeploymentActivities.record_decision, self._unrecorded[0], summary=self._unrecorded[0].kind)
            self._unrecorded.pop(0)
