"""How a deployment goes back: what was begun is undone, traffic before everything, and nothing interrupts it.

What may have to be undone is written down here before it is done, since it may half happen; whatever goes wrong, in any
phase, ends in `_go_back`. The way forward is `workflows/deployment.py`.
"""

from collections.abc import Awaitable

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.deployments import DeploymentActivities
    from activities.replicas import ReplicaActivities
    from activities.traffic import TrafficActivities
    from hotswap.domain.lifecycle import TRANSITIONS, DeploymentStatus
    from hotswap.domain.policy import RollBack
    from hotswap.domain.traffic import Arm, TrafficChange
    from hotswap.domain.verdict import Reason
    from hotswap.messages import DeploymentInput, DeploymentOutcome, Transition, WithdrawCandidate
    from workflows.calls import cause_of, until_done
    from workflows.conversation import Conversation

STATUS = SearchAttributeKey.for_keyword("HotSwapStatus")
WEIGHT = SearchAttributeKey.for_float("HotSwapWeight")


class Compensation(Conversation):
    """Knows what has been begun, undoes it, and says how it ended; `DeploymentWorkflow` is the only one to derive."""

    def __init__(self, request: DeploymentInput) -> None:
        super().__init__(request.deployment_id)
        self._request = request
        self._sequence = 0
        self._started: str | None = None
        self._routed = False
        """Whether the route may have the candidate, be it without any weight, as testers need it."""
        self._published = False
        """Whether a weight was published: that decides how a deployment that goes back has to end."""
        self._promoted = False
        self._stable: Arm | None = None
        self._inherited = False
        """Whether a run that was lost may have left traffic split."""

    async def _go_back(self, cause: RollBack) -> DeploymentOutcome:
        """Undo what was begun: traffic before everything, then the replicas; then say how it ended."""
        failures: list[str] = []
        has_begun = self._started is not None or DeploymentStatus.CANCELLED not in TRANSITIONS[self._status]
        rolling_back = self._transition(DeploymentStatus.ROLLING_BACK, cause.message, cause.reason)
        self._show(DeploymentStatus.ROLLING_BACK, cause.message)
        if self._routed or self._inherited:
            await _tried(self._withdraw(rolling_back), failures)
        elif has_begun:
            await _tried(self._record(rolling_back), failures)
        if self._started is not None:
            await _tried(self._remove_replicas(self._started), failures)
        if failures:
            message = f"{cause.message}; and undoing it failed: {'; '.join(failures)}"
            return await self._end(DeploymentStatus.FAILED, Reason.ROLLBACK_FAILED, message)
        if self._published:
            return await self._end(DeploymentStatus.ROLLED_BACK, cause.reason, cause.message)
        asked_for = {
            *(Reason.ABORTED, Reason.CANCELLED, Reason.REJECTED, Reason.ROLLBACK_REQUESTED),
            Reason.SUPERSEDED,
        }
        status = DeploymentStatus.CANCELLED if cause.reason in asked_for else DeploymentStatus.FAILED
        return await self._end(status, cause.reason, cause.message)

    async def _withdraw(self, rolling_back: Transition) -> None:
        self._sequence += 1
        await workflow.execute_activity_method(
            TrafficActivities.withdraw_candidate,
            WithdrawCandidate(
                change=self._change(stable=self._stable, candidate=None, weight=0),
                why=rolling_back,
                promoted=self._promoted,
            ),
            **until_done("take all traffic from the candidate, and verify it"),
        )
        self._verified_weight = 0
        workflow.upsert_search_attributes([WEIGHT.value_set(0.0)])
        self._tell()

    async def _remove_replicas(self, application: str) -> None:
        await workflow.execute_activity_method(
            ReplicaActivities.retire_replicas, application, **until_done(f"stop {application}")
        )

    async def _end(self, status: DeploymentStatus, reason: Reason, message: str) -> DeploymentOutcome:
        """Whatever comes from now on comes too late, and is told so."""
        self._show(status, message)
        while self._unrecorded:
            said = self._unrecorded[0]
            await workflow.execute_activity_method(DeploymentActivities.record_decision, said, **until_done(said.kind))
            self._unrecorded.pop(0)
        await self._record(self._transition(status, message, reason))
        return self._outcome(reason)

    async def _record(self, transition: Transition) -> None:
        await workflow.execute_activity_method(
            DeploymentActivities.record_transition, transition, **until_done(str(transition.status))
        )

    # --- what both ways use -------------------------------------------------------------------------------------------

    def _change(self, *, stable: Arm | None, candidate: Arm | None, weight: int) -> TrafficChange:
        return TrafficChange(
            environment=self._request.environment,
            model=self._request.model,
            deployment_id=self._request.deployment_id,
            sequence=self._sequence,
            stable=stable,
            candidate=candidate,
            candidate_weight=weight,
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

    def _outcome(self, reason: Reason) -> DeploymentOutcome:
        return DeploymentOutcome(
            deployment_id=self._request.deployment_id, status=self._status, reason=reason, message=self._message
        )


async def _tried(undoing: Awaitable[None], failures: list[str]) -> None:
    """What can't be undone keeps nothing else from being undone."""
    try:
        await undoing
    except FailureError as error:
        failures.append(cause_of(error).message)
