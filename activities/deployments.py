"""The deployment's row: people and the API read there what the workflow does, who did it, when and why."""

from temporalio import activity

from activities.heartbeating import heartbeating
from hotswap.domain.registry import DeploymentBrief
from hotswap.messages import ApprovalGiven, Decision, Leftovers, QueueInput, Transition
from hotswap.ports import DeploymentQueue, Deployments, DesiredApplications
from hotswap.telemetry.logs import traced


class DeploymentActivities:
    def __init__(self, deployments: Deployments, applications: DesiredApplications, queue: DeploymentQueue) -> None:
        self._deployments = deployments
        self._applications = applications
        self._queue = queue

    @activity.defn
    @heartbeating
    async def open_deployment(self, deployment_id: str) -> DeploymentBrief:
        """Bind the row to this run, which gives the run its traffic epoch."""
        return await self._deployments.open(deployment_id, run_id=activity.info().workflow_run_id or "")

    @activity.defn
    @heartbeating
    async def find_leftovers(self) -> Leftovers:
        """Return whatever may have lost its workflow."""
        return Leftovers(
            deployments=tuple(await self._deployments.unfinished()),
            orphans=tuple(await self._applications.orphans()),
            queued=tuple(QueueInput.model_validate(each) for each in await self._queue.called()),
        )

    @activity.defn
    @heartbeating
    async def record_transition(self, to: Transition) -> None:
        await self._deployments.transition(
            to.deployment_id,
            to.status,
            message=to.message,
            reason=to.reason,
            actor=to.actor,
            run_id=activity.info().workflow_run_id,
        )

    @activity.defn
    @heartbeating
    async def record_decision(self, decision: Decision) -> None:
        with traced(decision.trace_id):
            await self._deployments.record_decision(
                decision.deployment_id,
                decision_id=decision.id,
                kind=decision.kind,
                actor=decision.actor,
                message=decision.message,
                before=decision.before,
                after=decision.after,
            )

    @activity.defn
    @heartbeating
    async def record_approval(self, approval: ApprovalGiven) -> None:
        with traced(approval.trace_id):
            if approval.must_be_proven:
                await self._deployments.check_proof(
                    approval.deployment_id, step=approval.step, by=approval.by, proof=approval.proof
                )
            await self._deployments.approve(
                approval.deployment_id,
                step=approval.step,
                by=approval.by,
                claimed=approval.claimed,
                reason=approval.reason,
                proof=approval.proof,
            )
