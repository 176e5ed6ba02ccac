"""The rollback of a deployment: it runs the undo log, newest first, so that traffic comes before everything.

Harm wins over capacity: the candidate's share is taken at once, whatever replicas the stable has. Then the stable gets
its replicas back, in the place of the candidate's, and as they come less is shed. That has no deadline: the shed share
is shown wherever people look, and a person can end the wait by saying that fewer replicas are enough (`scale`). An
undo that fails doesn't keep others from being run. The caller shields all of it from cancels.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.replicas import ReplicaActivities
    from activities.traffic import TrafficActivities
    from hotswap.domain.capacity import OnAbort
    from hotswap.domain.fleet import Fleet, Scale, Shift
    from hotswap.domain.lifecycle import TRANSITIONS, DeploymentStatus
    from hotswap.domain.policy import RollBack
    from hotswap.domain.traffic import TOTAL_WEIGHT
    from hotswap.domain.undo import LetScaleByLoad, RemoveReplicas, Undo, WithdrawTraffic
    from hotswap.domain.verdict import Reason
    from hotswap.messages import (
        AwaitReplicas,
        DeploymentOutcome,
        ScaleReplicas,
        SetWeight,
        Transition,
        WithdrawCandidate,
        Withdrawn,
    )
    from hotswap.telemetry.logs import trace_id
    from workflows.activity_options import taking_back
    from workflows.deployment.completion import close, let_scale_by_load
    from workflows.deployment.context import Context
    from workflows.failures import cause_of

Given = TypeVar("Given")
Result = TypeVar("Result")

ASKED_FOR = frozenset({Reason.ABORTED, Reason.CANCELLED, Reason.REJECTED, Reason.ROLLBACK_REQUESTED, Reason.SUPERSEDED})
"""Reasons that end as Cancelled if no weight was published; any other ends as Failed."""


QUICK_ROUNDS, DOUBLINGS = 50, 11
LONGEST_PAUSE_SECONDS = 1_800.0
"""Less than the hour that an attempt of an activity may take."""


class RunActivity(Protocol):
    """The call of an activity: until it has worked, or only until somebody aborts."""

    async def __call__(
        self, method: Callable[[Any, Given], Awaitable[Result]], given: Given, *, summary: str
    ) -> Result: ...


class RollbackPhase:
    """Undoes what one deployment has begun, and says how it ended."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(self, cause: RollBack) -> DeploymentOutcome:
        """Run the undo log, newest first, and close the deployment."""
        context = self._context
        undo, withdrawal = context.undo.newest_first(), context.undo.withdrawal
        if context.commands.abort_trace_id is not None:
            trace_id.set(context.commands.abort_trace_id)
        has_begun = context.undo.removed or DeploymentStatus.CANCELLED not in TRANSITIONS[context.progress.status]
        rolling_back = context.transition(DeploymentStatus.ROLLING_BACK, cause.message, cause.reason)
        context.show_status(DeploymentStatus.ROLLING_BACK, cause.message)
        failures: list[str] = []
        if has_begun and withdrawal is None:  # else the withdrawal records it, once it is published
            await _attempt(context.record(rolling_back), failures)
        for each in undo:
            await _attempt(self._undo(each, rolling_back), failures)
        if failures:
            message = f"{cause.message}; and undoing it failed: {'; '.join(failures)}"
            return await close(context, DeploymentStatus.FAILED, Reason.ROLLBACK_FAILED, message)
        if withdrawal is not None and withdrawal.published:
            return await close(context, DeploymentStatus.ROLLED_BACK, cause.reason, cause.message)
        status = DeploymentStatus.CANCELLED if cause.reason in ASKED_FOR else DeploymentStatus.FAILED
        return await close(context, status, cause.reason, cause.message)

    async def take_back(self, left_behind: str | None) -> None:
        """Take the traffic from a candidate that a lost run left in the route, before anything else is done."""
        context = self._context
        withdrawn = await self._run_unless_aborted(
            TrafficActivities.withdraw_candidate,
            WithdrawCandidate(change=context.traffic.change(stable=context.traffic.stable, candidate=None), why=None),
            summary="take the traffic from what a lost deployment left, and verify it",
        )
        context.traffic.beside_stable = {left_behind: 0} if left_behind is not None else {}
        await self._restore_stable(withdrawn, self._run_unless_aborted)
        context.traffic.beside_stable = {}
        context.undo.discard(WithdrawTraffic())

    async def _run_unless_aborted(
        self, method: Callable[[Any, Given], Awaitable[Result]], given: Given, *, summary: str
    ) -> Result:
        deadline = self._context.request.config.progress_deadline
        return await self._context.run(method, given, summary=summary, options=taking_back(summary, deadline=deadline))

    async def _undo(self, undo: Undo, rolling_back: Transition) -> None:
        context = self._context
        match undo:
            case WithdrawTraffic():
                withdrawn = await self._withdraw(rolling_back, promoted=undo.promoted)
                await self._restore_stable(withdrawn, context.run_until_done)
            case RemoveReplicas(application):
                await context.run_until_done(
                    ReplicaActivities.retire_replicas, application, summary=f"stop {application}"
                )
            case LetScaleByLoad(applications):
                kept = tuple(each for each in applications if each not in context.undo.removed)
                await let_scale_by_load(context, kept)

    # --- traffic ------------------------------------------------------------------------------------------------------

    async def _withdraw(self, rolling_back: Transition, *, promoted: bool) -> Withdrawn:
        context, traffic, rollout = self._context, self._context.traffic, self._context.progress.rollout
        fleet = rollout.fleet if rollout is not None else None
        if context.request.config.on_abort is OnAbort.HOLD and fleet is not None and fleet.weight > 0:
            try:
                await self._hold_back(fleet, rolling_back, promoted=promoted)
            except FailureError as error:
                # A hold that doesn't work out in its time ends as it would have begun without it.
                workflow.logger.warning("the candidate can't hold on until the stable is back: %s", error)
        withdrawn = await context.run_until_done(
            TrafficActivities.withdraw_candidate,
            WithdrawCandidate(
                change=traffic.change(stable=traffic.stable, candidate=None), why=rolling_back, promoted=promoted
            ),
            summary="take all traffic from the candidate, and verify it",
        )
        context.show_weight(0)
        return withdrawn

    async def _hold_back(self, fleet: Fleet, rolling_back: Transition, *, promoted: bool) -> None:
        """Leave the candidate with what the stable can't hold: less with each replica that the stable gets back."""
        context, traffic = self._context, self._context.traffic
        change = traffic.change(stable=traffic.stable, candidate=traffic.candidate, weight=fleet.weight)
        held = await context.run_until_done(
            TrafficActivities.withdraw_candidate,
            WithdrawCandidate(change=change, why=rolling_back, promoted=promoted, hold=True),
            summary="leave the candidate with what the stable can't hold, and verify it",
        )
        context.show_weight(held.weight)
        stable = held.readiness.wanted if held.readiness is not None else fleet.stable
        fleet = replace(fleet, weight=held.weight, shed=held.shed, stable=stable)
        until = workflow.time() + context.request.config.progress_deadline.total_seconds()
        while (move := fleet.move_back()) is not None:
            left = timedelta(seconds=max(1.0, until - workflow.time()))
            match move:
                case Scale():
                    await workflow.execute_activity_method(
                        ReplicaActivities.scale_replicas,
                        ScaleReplicas(deployment_id=traffic.deployment_id, replicas=traffic.replicas(move)),
                        **taking_back(f"bring the stable back: {move.stable} replicas", deadline=left),
                    )
                case Shift():
                    await workflow.execute_activity_method(
                        TrafficActivities.set_weight,
                        traffic.shift(fleet, move, progress=None),
                        **taking_back(f"leave the candidate with {move.weight / 100:g}%", deadline=left),
                    )
                    context.show_weight(move.weight)
            fleet = fleet.after(move)

    async def _restore_stable(self, withdrawn: Withdrawn, run: RunActivity) -> None:
        """Give the stable its replicas back, in the place of the candidate's; as they come, less is shed."""
        context, traffic = self._context, self._context.traffic
        stable, readiness, shed = traffic.stable, withdrawn.readiness, withdrawn.shed
        if stable is None or readiness is None or (readiness.wanted >= readiness.full and not shed):
            return
        removed = dict.fromkeys(context.undo.removed, 0)
        numbers = {**traffic.beside_stable, **removed, stable.application: readiness.full}
        await run(
            ReplicaActivities.scale_replicas,
            ScaleReplicas(deployment_id=traffic.deployment_id, replicas=numbers, wait=False),
            summary=f"bring {stable.application} back to {readiness.full} replicas",
        )
        rounds = 0
        while shed:
            rounds += 1
            ready = f"{readiness.ready} of {readiness.full} are ready"
            context.show_message(f"sheds {shed / 100:g}% of all requests: {ready}")
            readiness = await run(
                ReplicaActivities.await_replicas,
                AwaitReplicas(
                    application=stable.application, more_than=readiness.ready, pause_seconds=_pause_seconds(rounds)
                ),
                summary=f"wait for replicas of {stable.application}, and shed {shed / 100:g}% until then",
            )
            shed = TOTAL_WEIGHT - readiness.share
            await run(
                TrafficActivities.set_weight,
                SetWeight(change=traffic.change(stable=stable, candidate=None, shed=shed), share=0, progress=None),
                summary=f"shed {shed / 100:g}%, and verify it",
            )


def _pause_seconds(rounds: int) -> float:
    """Return how long to wait for more replicas before the next change of the shed share.

    Each round is 12 events of a run that can hold 51,200 and can't continue as a new one here. Replicas that come and
    go again and again are therefore asked for ever more seldom; as many rounds as a stable has replicas cost no pause.
    """
    slow = min(rounds - QUICK_ROUNDS, DOUBLINGS)
    return min(LONGEST_PAUSE_SECONDS, 2.0**slow) if slow > 0 else 0.0


async def _attempt(undoing: Awaitable[None], failures: list[str]) -> None:
    """Undo one thing; a failure is kept for the end."""
    try:
        await undoing
    except FailureError as error:
        failures.append(cause_of(error).message)
