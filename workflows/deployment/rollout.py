"""The loop that moves traffic: the policy decides the one next action, an activity does it, a durable timer waits.

The loop is decide (`next_action` in `hotswap/domain/policy.py`, which is pure), apply, wait. Each wait ends at once
when people request something. A step costs about 15 events of history, however long it bakes.
"""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import assert_never

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.analysis import AnalysisActivities
    from activities.replicas import ReplicaActivities
    from activities.traffic import TrafficActivities
    from hotswap.domain.analysis import Subject
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.auditing import AuditAction
    from hotswap.domain.capacity import CapacityPlan, Mode
    from hotswap.domain.fleet import Fleet, Scale, Shift
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.policy import Bake, Extend, Fail, GoTo, Hold, Promote, RollBack, Rollout, Wait, next_action
    from hotswap.domain.strategy import Step
    from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Counts
    from hotswap.domain.undo import WithdrawTraffic
    from hotswap.domain.verdict import Outcome, Verdict
    from hotswap.messages import ScaleReplicas, Watch
    from workflows.abandoning import abandoned_at_end
    from workflows.activity_options import watching
    from workflows.deployment.approvals import record_approval
    from workflows.deployment.context import Context
    from workflows.failures import DeploymentStopped, cause_of

BAKE_GRACE = timedelta(seconds=15)
"""The time after the watch's own deadline at which the bake's timer ends it: twice its heartbeat time-out, and a retry.
"""

LONGEST_WATCH = timedelta(days=1)
"""The longest watch of a hold without a limit: then it is watched anew."""

NOTHING = Arm("", "", "")
"""The stable of a model's first version: nothing serves beside it."""

Onward = Shift | Scale | Bake | Extend | Wait | GoTo
"""The actions that end a hold."""


class RolloutLoop:
    """Sets, verifies, bakes and judges one weight after the other, as the policy says."""

    def __init__(self, context: Context, spec: ApplicationSpec) -> None:
        self._context = context
        self._spec = spec
        self._acted_on = context.commands.requests
        """The requests that the present action was chosen by."""

    @property
    def _rollout(self) -> Rollout:
        rollout = self._context.progress.rollout
        assert rollout is not None
        return rollout

    @_rollout.setter
    def _rollout(self, rollout: Rollout) -> None:
        self._context.progress.rollout = rollout

    async def run(self, steps: tuple[Step, ...], plan: CapacityPlan) -> None:
        """Go on until there is nothing left but to promote; raise DeploymentStopped where it goes back or fails.

        A run that continues another one goes on from where that one was.
        """
        if self._context.progress.rollout is None:
            await self._begin(steps, plan)
        await self._follow_policy()

    async def _begin(self, steps: tuple[Step, ...], plan: CapacityPlan) -> None:
        await self._context.enter(DeploymentStatus.PROGRESSING, "shifts traffic")
        self._rollout = Rollout(
            steps,
            position=len(steps) - 1 if plan.mode is Mode.RECREATE else 0,
            rules=self._context.request.config.rules(),
            fleet=Fleet(plan, plan.candidate, plan.stable),
        )

    async def _follow_policy(self) -> None:
        context = self._context
        while True:
            context.continue_if_long()
            await context.record_decisions()
            self._acted_on = context.commands.requests
            action = next_action(self._rollout, self._acted_on, now=workflow.time())
            if context.progress.status is DeploymentStatus.PAUSED and isinstance(action, Onward):
                await self._leave_hold(action)
                continue  # chosen anew: it took an activity, and something else may have been said meanwhile
            match action:
                case Shift():
                    await self._set_weight(action)
                case Scale():
                    await self._scale(action)
                case Bake():
                    await self._bake(action)
                case Extend():
                    self._extend(action)
                case Wait(until):
                    await self._wait(until)
                case Hold():
                    await self._hold(action)
                case GoTo():
                    self._go_to(action)
                case RollBack() | Fail():
                    raise DeploymentStopped(action)
                case Promote():
                    return
                case never:
                    assert_never(never)
            context.refresh_details()

    # --- apply --------------------------------------------------------------------------------------------------------

    async def _set_weight(self, shift: Shift) -> None:
        context, rollout = self._context, self._rollout
        assert rollout.fleet is not None
        context.undo.push(WithdrawTraffic(published=shift.weight > 0 or shift.shed > 0))
        shed = f", shed {shift.shed / 100:g}%" if shift.shed else ""
        message = context.traffic.shift(rollout.fleet, shift, progress=rollout.progress)
        # What a larger weight has in flight would look like harm at a smaller one. In the other direction it never
        # does, and waiting would leave the larger weight unwatched.
        settles = 0 < shift.weight < context.traffic.verified_weight
        verified = await context.run(
            TrafficActivities.set_weight,
            message.model_copy(update={"settles": settles}),
            summary=f"set and verify {shift.weight / 100:g}%{shed}",
        )
        context.traffic.first = context.traffic.first or verified
        context.traffic.latest = verified
        self._rollout = rollout.moved(shift)
        if self._rollout.is_reached:
            self._rollout = self._rollout.verified(at=workflow.time())
        context.show_weight(verified.weight)

    async def _scale(self, scale: Scale) -> None:
        """Change replicas. The candidate's new ones are tried before they get anything; what shrinks has no traffic."""
        context, rollout = self._context, self._rollout
        assert rollout.fleet is not None
        grows = scale.candidate > rollout.fleet.candidate
        await context.run(
            ReplicaActivities.scale_replicas,
            ScaleReplicas(
                deployment_id=context.request.deployment_id,
                replicas=context.traffic.replicas(scale),
                warm_up=self._spec if grows else None,
            ),
            summary=f"have {scale.candidate} candidate and {scale.stable} stable replicas",
        )
        self._rollout = rollout.moved(scale)

    async def _bake(self, bake: Bake) -> None:
        """Judge until there is a verdict, or somebody speaks; the timer ends it also when the watch is dead."""
        weight = f"{self._context.traffic.verified_weight / 100:g}%"
        try:
            verdict = await self._watched(
                self._watch(until=bake.until, deadline=bake.deadline, extends=not self._is_first),
                summary=f"judge {'it by its limits' if self._is_first else 'candidate against stable'} at {weight}",
                timer=f"bake at {weight}, with its deadline",
            )
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            verdict = self._no_verdict(f"the watch failed: {cause_of(error).message}")
        except TimeoutError:
            verdict = self._no_verdict("the watch said nothing until the bake's deadline")
        if verdict is not None:
            self._rollout = self._rollout.judged(verdict)

    def _extend(self, extend: Extend) -> None:
        self._context.progress.message = extend.message
        self._context.note(extend.message, kind=AuditAction.BAKE_EXTENDED, actor="hotswap")
        self._rollout = self._rollout.extended(until=extend.until)

    async def _hold(self, hold: Hold) -> None:
        """Wait for a word, and watch for harm meanwhile: a pause must not keep a bad version in front of people."""
        context = self._context
        self._rollout = self._rollout.held(hold.reason, at=workflow.time())
        if context.progress.status is not DeploymentStatus.PAUSED:
            await context.enter(DeploymentStatus.PAUSED, hold.message + _until(hold.until))
        until = hold.until if hold.until is not None else workflow.time() + LONGEST_WATCH.total_seconds()
        weight = context.traffic.verified_weight
        unwatched = context.traffic.stable is None and not self._is_first
        if self._rollout.weight_verified_at is None or weight == 0 or unwatched:
            await self._wait(until, summary=hold.message)
            return
        try:
            verdict = await self._watched(
                self._watch(until=until, deadline=until),
                summary=f"watch for harm while it is held at {weight / 100:g}%",
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
        if self._context.commands.requests.approved == self._rollout.number:
            await record_approval(self._context, step=self._rollout.number)
        message = action.message if isinstance(action, GoTo) else "goes on"
        await self._context.enter(DeploymentStatus.PROGRESSING, message)

    def _go_to(self, action: GoTo) -> None:
        context, verdict = self._context, self._rollout.verdict
        if self._is_first and verdict is not None:
            context.note(f"first version: {action.message}", kind=AuditAction.FIRST_VERSION, actor="hotswap")
        context.progress.message = action.message
        self._rollout = self._rollout.at_step(action.position)
        context.commands.requests = context.commands.requests.answered()

    # --- wait ---------------------------------------------------------------------------------------------------------

    async def _watched(self, watch: Watch, *, summary: str, timer: str) -> Verdict | None:
        """Answer the watch's verdict, None when somebody spoke first.

        Raises TimeoutError, and what the watch failed with.
        """
        remaining = timedelta(seconds=watch.deadline - workflow.time()) + BAKE_GRACE
        call = workflow.start_activity_method(AnalysisActivities.watch, watch, **watching(summary, deadline=remaining))
        with abandoned_at_end(call):
            await self._until_requested_or(call.done, within=remaining, summary=timer)
            return await call if call.done() else None

    async def _wait(self, until: float, *, summary: str = "rest of the bake") -> None:
        """Wait until then, or until somebody speaks."""
        with contextlib.suppress(TimeoutError):
            await self._until_requested_or(
                lambda: False, within=timedelta(seconds=max(0.0, until - workflow.time())), summary=summary
            )

    async def _until_requested_or(self, done: Callable[[], bool], *, within: timedelta, summary: str) -> None:
        """Wait until it is done, or people request something new; what had no effect is recorded meanwhile.

        New is what the action was not chosen by, so that a word that falls into the action's own activities, such as
        the one that shows the pause, ends the wait before it begins. Raises TimeoutError.
        """
        commands = self._context.commands
        await self._context.wait(
            lambda: done() or commands.requests != self._acted_on,
            until=workflow.time() + within.total_seconds(),
            summary=summary,
        )

    # --- what a watch judges by ---------------------------------------------------------------------------------------

    def _watch(self, *, until: float, deadline: float, extends: bool = False) -> Watch:
        request, traffic, spec = self._context.request, self._context.traffic, self._spec
        first, latest = traffic.first, traffic.latest
        assert first is not None
        assert latest is not None
        config, stable = request.config, traffic.stable or NOTHING
        reference: Counts | None = None
        if traffic.verified_weight == TOTAL_WEIGHT and traffic.stable is not None:
            reference = latest.stable - first.stable
            if reference.good < config.minimum_requests:
                reference = latest.stable
        return Watch(
            subject=Subject(
                deployment_id=request.deployment_id,
                environment=request.environment,
                model=request.model,
                candidate=spec.name,
                stable=stable.application,
                candidate_version=spec.version,
                stable_version=stable.version,
                weight=traffic.verified_weight,
                since=latest.verified_at,
            ),
            step=self._rollout.position,
            baseline=latest,
            reference=reference,
            prior_evidence=dict(self._rollout.evidence),
            policy=config.first_policy() if self._is_first else config.analysis_policy(),
            bake_until=until,
            deadline=deadline,
            extends=extends,
        )

    @property
    def _is_first(self) -> bool:
        """Return whether the present step is a first version's, which is judged by its limits alone."""
        step = self._rollout.step
        return step is not None and step.is_first

    def _no_verdict(self, message: str) -> Verdict:
        return Verdict(Outcome.ERROR, message, evidence=dict(self._rollout.evidence))


def _until(end: float | None) -> str:
    return "" if end is None else f"; until {datetime.fromtimestamp(end, UTC):%Y-%m-%dT%H:%M:%SZ}"
