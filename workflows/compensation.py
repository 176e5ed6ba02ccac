"""How a deployment goes back: what was begun is undone, traffic before everything, and nothing interrupts it.

What may have to be undone is written down here before it is done, since it may half happen; whatever goes wrong, in any
phase, ends in `_go_back`. The way forward is `workflows/deployment.py`.
"""

from collections.abc import Awaitable

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.deployments import DeploymentActivities
    from activities.monitoring import MonitoringActivities
    from activities.replicas import ReplicaActivities
    from hotswap.domain.lifecycle import TRANSITIONS, DeploymentStatus
    from hotswap.domain.monitoring import AlertKind
    from hotswap.domain.policy import Fail, RollBack
    from hotswap.domain.verdict import Reason
    from hotswap.messages import DeploymentInput, DeploymentOutcome, RaiseAlert, Transition
    from hotswap.telemetry.logs import trace_id
    from workflows.failures import cause_of
    from workflows.retreat import Retreat


class Compensation(Retreat):
    """Undoes what has been begun, and says how it ended; `Stepping` is the only one to derive."""

    def __init__(self, request: DeploymentInput) -> None:
        super().__init__(request)
        self._published = False
        """Whether a weight was published: that decides how a deployment that goes back has to end."""
        self._scaled_by_load: tuple[str, ...] = ()
        """Applications that may keep a fixed number of replicas while this deployment is under way."""

    async def _go_back(self, cause: RollBack) -> DeploymentOutcome:
        """Undo what was begun: traffic before everything, then the replicas; then say how it ended."""
        if self._aborted_under is not None:
            trace_id.set(self._aborted_under)
        failures: list[str] = []
        has_begun = self._started is not None or DeploymentStatus.CANCELLED not in TRANSITIONS[self._status]
        rolling_back = self._transition(DeploymentStatus.ROLLING_BACK, cause.message, cause.reason)
        self._show(DeploymentStatus.ROLLING_BACK, cause.message)
        if self._routed or self._inherited:
            await _tried(self._withdraw(rolling_back), failures)
            await _tried(self._bring_stable_back(self._insist), failures)
        elif has_begun:
            await _tried(self._record(rolling_back), failures)
        if self._started is not None:
            await _tried(self._remove_replicas(self._started), failures)
        await _tried(self._let_scale_by_load(but=self._started), failures)
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

    async def _fail(self, cause: Fail) -> DeploymentOutcome:
        """End as failed with the traffic where it is, and raise an alert; no version becomes the active one."""
        await self._raise_alert(AlertKind.FIRST_VERSION, cause.message)
        await self._let_scale_by_load()
        return await self._end(DeploymentStatus.FAILED, cause.reason, cause.message)

    async def _raise_alert(self, kind: AlertKind, message: str) -> None:
        alert = RaiseAlert(deployment_id=self._request.deployment_id, kind=kind, message=message)
        await self._insist(MonitoringActivities.raise_alert, alert, summary=f"raise the alert {kind}")

    async def _remove_replicas(self, application: str) -> None:
        await self._insist(ReplicaActivities.retire_replicas, application, summary=f"stop {application}")

    async def _let_scale_by_load(self, *, but: str | None = None) -> None:
        """What does so by its configuration does so again."""
        for application in self._scaled_by_load:
            if application != but:
                summary = f"let {application} scale by load again"
                await self._insist(ReplicaActivities.release_replicas, application, summary=summary)

    async def _end(self, status: DeploymentStatus, reason: Reason, message: str) -> DeploymentOutcome:
        """Whatever comes from now on comes too late, and is told so."""
        self._show(status, message)
        while self._unrecorded:
            said = self._unrecorded[0]
            await self._insist(DeploymentActivities.record_decision, said, summary=said.kind)
            self._unrecorded.pop(0)
        await self._record(self._transition(status, message, reason))
        return self._outcome(reason)

    async def _record(self, transition: Transition) -> None:
        await self._insist(DeploymentActivities.record_transition, transition, summary=str(transition.status))

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
