"""How a rollout goes forward: the policy says the one next thing, an activity does it, a durable timer waits.

Whatever is done here turns back at once when an abort is asked for. What a step costs in history is fixed, however
long it bakes: about 15 events. What comes before and after the steps is `workflows/deployment.py`.
"""

import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, assert_never

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.analysis import AnalysisActivities
    from activities.deployments import DeploymentActivities
    from activities.replicas import ReplicaActivities
    from activities.traffic import TrafficActivities
    from hotswap.domain.analysis import Subject
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.auditing import AuditAction
    from hotswap.domain.capacity import CapacityPlan, Mode
    from hotswap.domain.fleet import Fleet, Scale, Shift
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.policy import (
        Bake,
        Extend,
        Fail,
        GoTo,
        Hold,
        Promote,
        RollBack,
        Rollout,
        Wait,
        next_action,
    )
    from hotswap.domain.strategy import Step
    from hotswap.domain.traffic import FULL, Arm, Counts
    from hotswap.domain.verdict import Outcome, Verdict
    from hotswap.messages import (
        ApprovalGiven,
        Approve,
        DeploymentInput,
        ScaleReplicas,
        VerifiedWeight,
        Watch,
    )
    from workflows.abandoning import abandoned_at_end
    from workflows.activity_options import forward, watching
    from workflows.compensation import Compensation
    from workflows.failures import DeploymentStopped, cause_of

BAKE_GRACE = timedelta(seconds=15)
"""How much later than the watch's own deadline the bake's timer ends it: twice its heartbeat time-out, and a retry."""

LONGEST_WATCH = timedelta(days=1)
"""Of a hold without a limit: then it is watched anew."""

NOTHING = Arm("", "", "")
"""What serves beside a model's first version."""

Onward = Shift | Scale | Bake | Extend | Wait | GoTo
"""What ends a hold."""

Given = TypeVar("Given")
Result = TypeVar("Result")


class Stepping(Compensation):
    """Steps, verifies, bakes and judges; `DeploymentWorkflow` is the only one to derive."""

    def __init__(self, request: DeploymentInput) -> None:
        super().__init__(request)
        self._first: VerifiedWeight | None = None
        self._latest: VerifiedWeight | None = None
        self._evidence: dict[str, float] = {}
        self._acted_on = self._asked

    async def _roll_out(self, spec: ApplicationSpec, steps: tuple[Step, ...], plan: CapacityPlan) -> None:
        """Set, verify, bake and judge, as the policy says, until there is nothing left but to promote."""
        candidate = self._candidate
        assert candidate is not None
        await self._enter(DeploymentStatus.PROGRESSING, "shifts traffic")
        self._rollout = Rollout(
            steps,
            position=len(steps) - 1 if plan.mode is Mode.RECREATE else 0,
            rules=self._request.config.rules(),
            fleet=Fleet(plan, plan.candidate, plan.stable),
        )
        while True:
            await self._record_decisions()
            self._acted_on = self._asked
            action = next_action(self._rollout, self._acted_on, now=workflow.time())
            if self._status is DeploymentStatus.PAUSED and isinstance(action, Onward):
                await self._leave_hold(action)
                continue  # chosen anew: it took an activity, and something else may have been said meanwhile
            match action:
                case Shift():
                    await self._set_weight(action)
                case Scale():
                    await self._scale(spec, action)
                case Bake():
                    await self._bake(candidate, action)
                case Extend(until, why):
                    self._extend(until, why)
                case Wait(until):
                    await self._wait(until)
                case Hold():
                    await self._hold(candidate, action)
                case GoTo():
                    self._go_to(action)
                case RollBack() | Fail():
                    raise DeploymentStopped(action)
                case Promote():
                    return
                case never:
                    assert_never(never)
            self._tell()

    async def _set_weight(self, shift: Shift) -> None:
        assert self._rollout is not None
        assert self._fleet is not None
        self._routed = True
        self._published = self._published or shift.weight > 0 or shift.shed > 0
        shed = f", shed {shift.shed / 100:g}%" if shift.shed else ""
        change = self._shift(self._fleet, shift, progress=self._rollout.progress)
        # What a larger weight has in flight would look like harm at a smaller one. In the other direction it never
        # does, and waiting would leave the larger weight unwatched.
        settles = 0 < shift.weight < self._verified_weight
        verified = await self._do(
            TrafficActivities.set_weight,
            change.model_copy(update={"settles": settles}),
            summary=f"set and verify {shift.weight / 100:g}%{shed}",
        )
        self._first = self._first or verified
        self._latest = verified
        self._rollout = self._rollout.moved(shift)
        if self._rollout.is_reached:
            self._rollout = self._rollout.verified(at=workflow.time())
        self._show_weight(verified.weight)

    async def _scale(self, spec: ApplicationSpec, scale: Scale) -> None:
        """The candidate's new replicas are tried before they get anything; what shrinks has no traffic to lose."""
        assert self._rollout is not None
        assert self._fleet is not None
        grows = scale.candidate > self._fleet.candidate
        await self._do(
            ReplicaActivities.scale_replicas,
            ScaleReplicas(replicas=self._replicas(scale), warm_up=spec if grows else None),
            summary=f"have {scale.candidate} candidate and {scale.stable} stable replicas",
        )
        self._rollout = self._rollout.moved(scale)

    async def _bake(self, candidate: Arm, bake: Bake) -> None:
        """Judge until there is a verdict, or somebody speaks; the timer ends it also when the watch is dead."""
        assert self._rollout is not None
        weight = f"{self._verified_weight / 100:g}%"
        try:
            verdict = await self._watched(
                self._watch(candidate, until=bake.until, deadline=bake.deadline, extends=not self._is_first),
                summary=f"judge {'it by its limits' if self._is_first else 'candidate against stable'} at {weight}",
                timer=f"bake at {weight}, with its deadline",
            )
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            verdict = self._no_verdict(Outcome.ERROR, f"the watch failed: {cause_of(error).message}")
        except TimeoutError:
            verdict = self._no_verdict(Outcome.ERROR, "the watch said nothing until the bake's deadline")
        if verdict is not None:
            self._rollout = self._rollout.judged(verdict)

    async def _hold(self, candidate: Arm, hold: Hold) -> None:
        """Wait for a word, and watch for harm meanwhile: a pause must not keep a bad version in front of people."""
        assert self._rollout is not None
        self._rollout = self._rollout.held(hold.why, at=workflow.time())
        if self._status is not DeploymentStatus.PAUSED:
            await self._enter(DeploymentStatus.PAUSED, hold.message + _until(hold.until))
        until = hold.until if hold.until is not None else workflow.time() + LONGEST_WATCH.total_seconds()
        unwatched = self._stable is None and not self._is_first
        if self._rollout.weight_verified_at is None or self._verified_weight == 0 or unwatched:
            await self._wait(until, summary=hold.message)
            return
        try:
            verdict = await self._watched(
                self._watch(candidate, until=until, deadline=until),
                summary=f"watch for harm while it is held at {self._verified_weight / 100:g}%",
                timer=hold.message,
            )
        except (FailureError, TimeoutError) as error:
            if is_cancelled_exception(error):
                raise
            # What can't be watched is still held: the limit ends it, or a person.
            workflow.logger.warning("the watch beside a hold failed: %s", error)
            await self._wait(until, summary=hold.message)
            return
        if verdict is not None and verdict.outcome is Outcome.HARM:
            self._rollout = self._rollout.judged(verdict)

    async def _leave_hold(self, action: Onward) -> None:
        """Say that it goes on, and put an approval that let it on record."""
        assert self._rollout is not None
        if self._approval is not None and self._asked.approved == self._rollout.number:
            await self._record_approval(self._approval, step=self._rollout.number)
        await self._enter(DeploymentStatus.PROGRESSING, action.why if isinstance(action, GoTo) else "goes on")

    async def _record_approval(self, approval: Approve, *, step: int) -> None:
        rule = self._request.four_eyes
        await self._do(
            DeploymentActivities.record_approval,
            ApprovalGiven(
                deployment_id=self._request.deployment_id,
                step=step,
                by=approval.by,
                claimed=approval.is_claimed,
                reason=approval.reason,
                proof=approval.proof,
                must_be_proven=rule is not None and not rule.count_claimed,
                trace_id=self._approved_under,
            ),
            summary=f"approved by {approval.actor}",
        )

    async def _watched(self, watch: Watch, *, summary: str, timer: str) -> Verdict | None:
        """What the watch says, None when somebody spoke first. Raises TimeoutError, and what the watch failed with."""
        remaining = timedelta(seconds=watch.deadline - workflow.time()) + BAKE_GRACE
        watching_it = workflow.start_activity_method(
            AnalysisActivities.watch, watch, **watching(summary, deadline=remaining)
        )
        with abandoned_at_end(watching_it):
            await self._until_asked_or(watching_it.done, within=remaining, summary=timer)
            return await watching_it if watching_it.done() else None

    def _watch(self, candidate: Arm, *, until: float, deadline: float, extends: bool = False) -> Watch:
        assert self._rollout is not None
        assert self._latest is not None
        assert self._first is not None
        config, stable = self._request.config, self._stable or NOTHING
        reference: Counts | None = None
        if self._verified_weight == FULL and self._stable is not None:
            reference = self._latest.stable - self._first.stable
            if reference.good < config.minimum_requests:
                reference = self._latest.stable
        return Watch(
            subject=Subject(
                deployment_id=self._request.deployment_id,
                environment=self._request.environment,
                model=self._request.model,
                candidate=candidate.application,
                stable=stable.application,
                candidate_version=candidate.version,
                stable_version=stable.version,
                weight=self._verified_weight,
                since=self._latest.verified_at,
            ),
            step=self._rollout.position,
            baseline=self._latest,
            reference=reference,
            prior_evidence=self._evidence,
            policy=config.first_policy() if self._is_first else config.analysis_policy(),
            bake_until=until,
            deadline=deadline,
            extends=extends,
        )

    @property
    def _is_first(self) -> bool:
        """Whether the present step is a first version's, which is judged by its limits alone."""
        step = self._rollout.step if self._rollout is not None else None
        return step is not None and step.is_first

    def _no_verdict(self, outcome: Outcome, message: str) -> Verdict:
        return Verdict(outcome, message, evidence=self._evidence)

    async def _wait(self, until: float, *, summary: str = "rest of the bake") -> None:
        """Until then, or until somebody speaks."""
        with contextlib.suppress(TimeoutError):
            await self._until_asked_or(
                lambda: False, within=timedelta(seconds=max(0.0, until - workflow.time())), summary=summary
            )

    async def _until_asked_or(self, done: Callable[[], bool], *, within: timedelta, summary: str) -> None:
        """Until it is done, or people ask for something new; what had no effect is recorded meanwhile.

        New is what the action was not chosen by, so that a word that falls into the action's own activities, such as
        the one that shows the pause, ends the wait before it begins. Raises TimeoutError.
        """
        until = workflow.time() + within.total_seconds()
        while True:
            await workflow.wait_condition(
                lambda: done() or self._asked != self._acted_on or bool(self._unrecorded),
                timeout=timedelta(seconds=max(0.0, until - workflow.time())),
                timeout_summary=summary,
            )
            if done() or self._asked != self._acted_on:
                return
            await self._record_decisions()

    def _extend(self, until: float, why: str) -> None:
        assert self._rollout is not None
        self._message = why
        self._note(why, kind=AuditAction.BAKE_EXTENDED, actor="hotswap")
        self._rollout = self._rollout.extended(until=until)

    def _go_to(self, action: GoTo) -> None:
        assert self._rollout is not None
        verdict = self._rollout.verdict
        if verdict is not None:
            self._evidence = verdict.evidence
        if self._is_first and verdict is not None:
            self._note(f"first version: {action.why}", kind=AuditAction.FIRST_VERSION, actor="hotswap")
        self._message = action.why
        self._rollout = self._rollout.at_step(action.position)
        self._asked = self._asked.answered()

    # --- small parts --------------------------------------------------------------------------------------------------

    async def _do(
        self,
        method: Callable[[Any, Given], Awaitable[Result]],
        given: Given,
        *,
        summary: str,
        options: workflow.ActivityConfig | None = None,
    ) -> Result:
        """Call an activity, but turn back at once when an abort is asked for meanwhile."""
        self._check_abort()
        options = options or forward(summary, deadline=self._request.config.progress_deadline)
        call: workflow.ActivityHandle[Result] = workflow.start_activity_method(method, args=[given], **options)
        with abandoned_at_end(call):
            await workflow.wait_condition(lambda: call.done() or self._asked.abort is not None)
            if not call.done():
                self._check_abort()
            return await call

    def _check_abort(self) -> None:
        if self._asked.abort is not None:
            raise DeploymentStopped(self._asked.abort)

    async def _enter(self, status: DeploymentStatus, message: str) -> None:
        self._show(status, message)
        await self._do(
            DeploymentActivities.record_transition, self._transition(status, message, None), summary=str(status)
        )

    async def _record_decisions(self) -> None:
        while self._unrecorded:
            await self._do(DeploymentActivities.record_decision, self._unrecorded[0], summary=self._unrecorded[0].kind)
            self._unrecorded.pop(0)


def _until(end: float | None) -> str:
    return "" if end is None else f"; until {datetime.fromtimestamp(end, UTC):%Y-%m-%dT%H:%M:%SZ}"
