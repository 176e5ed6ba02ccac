"""How traffic leaves a candidate: at once, and what the stable can't hold is shed, or held, until it can.

Harm wins over capacity: nothing waits for replicas before the candidate's share is taken. Then the stable gets its
replicas back, in the place of the candidate's, and as they come less is shed. That has no deadline: what is shed is
told wherever people look, and ends as well when a person says that fewer replicas are enough (`scale`).
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
    from hotswap.domain.lifecycle import DeploymentStatus
    from hotswap.domain.traffic import FULL, Arm, TrafficChange
    from hotswap.domain.verdict import Reason
    from hotswap.messages import (
        AwaitReplicas,
        DeploymentInput,
        ScaleReplicas,
        SetWeight,
        Transition,
        WithdrawCandidate,
        Withdrawn,
    )
    from workflows.activity_options import forward, until_done
    from workflows.attributes import STATUS, WEIGHT
    from workflows.conversation import Conversation

Given = TypeVar("Given")
Result = TypeVar("Result")


class Call(Protocol):
    """How an activity is called: until it has worked, or only for as long as nobody aborts."""

    async def __call__(
        self, method: Callable[[Any, Given], Awaitable[Result]], given: Given, *, summary: str
    ) -> Result: ...


class Retreat(Conversation):
    """Knows what of route and replicas is this deployment's doing; `Compensation` is the only one to derive."""

    def __init__(self, request: DeploymentInput) -> None:
        super().__init__(request)
        self._sequence = 0
        self._started: str | None = None
        self._routed = False
        """Whether the route may have the candidate, be it without any weight, as testers need it."""
        self._promoted = False
        self._stable: Arm | None = None
        self._candidate: Arm | None = None
        self._beside_stable: dict[str, int] = {}
        """Replicas of other applications that there is room for beside a stable in full."""
        self._inherited = False
        """Whether a run that was lost may have left traffic split."""
        self._withdrawn: Withdrawn | None = None

    @property
    def _fleet(self) -> Fleet | None:
        """As it was after the last move that was finished; the rows may be a move further."""
        return self._rollout.fleet if self._rollout is not None else None

    # --- traffic ------------------------------------------------------------------------------------------------------

    async def _withdraw(self, rolling_back: Transition) -> None:
        fleet = self._fleet
        if self._request.config.on_abort is OnAbort.HOLD and fleet is not None and fleet.weight > 0:
            try:
                await self._hold_back(fleet, rolling_back)
            except FailureError as error:
                # A hold that doesn't work out in its time ends as it would have begun without it.
                workflow.logger.warning("the candidate can't hold on until the stable is back: %s", error)
        self._withdrawn = await self._insist(
            TrafficActivities.withdraw_candidate,
            self._withdrawal(rolling_back),
            summary="take all traffic from the candidate, and verify it",
        )
        self._show_weight(0)

    async def _hold_back(self, fleet: Fleet, rolling_back: Transition) -> None:
        """The candidate keeps what the stable can't hold: less of it with each replica that the stable gets back."""
        held = await self._insist(
            TrafficActivities.withdraw_candidate,
            replace_candidate(self._withdrawal(rolling_back), self._candidate, fleet.weight),
            summary="leave the candidate with what the stable can't hold, and verify it",
        )
        self._show_weight(held.weight)
        stable = held.readiness.wanted if held.readiness is not None else fleet.stable
        fleet = replace(fleet, weight=held.weight, shed=held.shed, stable=stable)
        until = workflow.time() + self._request.config.progress_deadline.total_seconds()
        while (move := fleet.move_back()) is not None:
            left = timedelta(seconds=max(1.0, until - workflow.time()))
            match move:
                case Scale():
                    await workflow.execute_activity_method(
                        ReplicaActivities.scale_replicas,
                        ScaleReplicas(replicas=self._replicas(move)),
                        **forward(f"bring the stable back: {move.stable} replicas", deadline=left),
                    )
                case Shift():
                    await workflow.execute_activity_method(
                        TrafficActivities.set_weight,
                        self._shift(fleet, move, progress=None),
                        **forward(f"leave the candidate with {move.weight / 100:g}%", deadline=left),
                    )
                    self._show_weight(move.weight)
            fleet = fleet.after(move)

    async def _bring_stable_back(self, call: Call) -> None:
        """The stable gets its replicas back, in the place of the candidate's, and as they come less is shed."""
        withdrawn, stable = self._withdrawn, self._stable
        if withdrawn is None or stable is None or withdrawn.readiness is None:
            return
        readiness, shed = withdrawn.readiness, withdrawn.shed
        if readiness.wanted >= readiness.full and not shed:
            return
        gone = {self._started: 0} if self._started is not None else {}
        numbers = {**self._beside_stable, **gone, stable.application: readiness.full}
        await call(
            ReplicaActivities.scale_replicas,
            ScaleReplicas(replicas=numbers, wait=False),
            summary=f"bring {stable.application} back to {readiness.full} replicas",
        )
        while shed:
            self._message = f"sheds {shed / 100:g}% of all requests: {readiness.ready} of {readiness.full} are ready"
            self._tell()
            readiness = await call(
                ReplicaActivities.await_replicas,
                AwaitReplicas(application=stable.application, more_than=readiness.ready),
                summary=f"wait for replicas of {stable.application}, and shed {shed / 100:g}% until then",
            )
            shed = FULL - readiness.share
            self._sequence += 1
            change = self._change(stable=stable, candidate=None, weight=0, shed=shed)
            await call(
                TrafficActivities.set_weight,
                SetWeight(change=change, share=0, progress=None),
                summary=f"shed {shed / 100:g}%, and verify it",
            )

    def _withdrawal(self, why: Transition | None) -> WithdrawCandidate:
        self._sequence += 1
        return WithdrawCandidate(
            change=self._change(stable=self._stable, candidate=None, weight=0), why=why, promoted=self._promoted
        )

    # --- what both ways use -------------------------------------------------------------------------------------------

    def _shift(self, fleet: Fleet, shift: Shift, *, progress: int | None) -> SetWeight:
        """A weight for both arms, which waits for the replicas that hold it."""
        assert self._candidate is not None
        self._sequence += 1
        arms = zip((self._candidate, self._stable), fleet.needs(shift), strict=True)
        return SetWeight(
            change=self._change(stable=self._stable, candidate=self._candidate, weight=shift.weight, shed=shift.shed),
            share=shift.weight,
            progress=progress,
            needs={arm.application: number for arm, number in arms if arm is not None and number > 0},
        )

    def _replicas(self, scale: Scale) -> dict[str, int]:
        arms = ((self._candidate, scale.candidate), (self._stable, scale.stable))
        return {arm.application: number for arm, number in arms if arm is not None}

    def _change(self, *, stable: Arm | None, candidate: Arm | None, weight: int, shed: int = 0) -> TrafficChange:
        return TrafficChange(
            environment=self._request.environment,
            model=self._request.model,
            deployment_id=self._request.deployment_id,
            sequence=self._sequence,
            stable=stable,
            candidate=candidate,
            candidate_weight=weight,
            shed=shed,
        )

    def _transition(self, status: DeploymentStatus, message: str, reason: Reason | None) -> Transition:
        return Transition(
            deployment_id=self._request.deployment_id,
            status=status,
            message=message,
            reason=reason,
            actor=self._request.initiated_by,
        )

    def _show(self, status: DeploymentStatus, message: str) -> None:
        self._status, self._message = status, message
        workflow.upsert_search_attributes([STATUS.value_set(status)])
        self._tell()

    def _show_weight(self, weight: int) -> None:
        self._verified_weight = weight
        workflow.upsert_search_attributes([WEIGHT.value_set(weight / 100)])
        self._tell()

    async def _insist(self, method: Callable[[Any, Given], Awaitable[Result]], given: Given, *, summary: str) -> Result:
        """Call an activity until it has worked."""
        return await workflow.execute_activity_method(method, args=[given], **until_done(summary))


def replace_candidate(withdrawal: WithdrawCandidate, candidate: Arm | None, weight: int) -> WithdrawCandidate:
    """The same, but the candidate holds on to what the stable can't hold of its weight."""
    change = replace(withdrawal.change, candidate=candidate, candidate_weight=weight)
    return withdrawal.model_copy(update={"change": change, "hold": True})
