"""Finds deployments that lost their workflow, such as by a terminate, and starts one; finds what Ray Serve lost.

A schedule runs this every minute, and `hotswap reconcile --repair` at once. Whether a deployment is in work is not
asked but tried: a run of the same workflow id is started for each row that has not ended, and Temporal refuses it where
one is open. So nothing is ever repaired under a deployment that runs, and none starts while a repair does. What the new
run does is `DeploymentWorkflow`'s affair. What is queued waits as it should; only when its turn has come is its queue
workflow started again, if it was lost.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.deployments import DeploymentActivities
    from activities.reconciliation import ReconciliationActivities
    from activities.replicas import ReplicaActivities
    from hotswap.domain.application import ApplicationSpec
    from hotswap.domain.ids import deployment_workflow_id, queue_workflow_id
    from hotswap.domain.registry import Unfinished
    from hotswap.domain.traffic import Withdrawal
    from hotswap.messages import DEPLOYMENT_MEMO, Abort, DeploymentInput, QueueInput, RetirementInput
    from workflows.activity_options import forward
    from workflows.children import Handle, start_child, start_deployment, start_retirement

DEADLINE = timedelta(minutes=1)
KEEP_ORPHANS = timedelta(minutes=30)
"""Warm for a rollback, as any version that was replaced."""


@workflow.defn(name="Reconcile")
class ReconcileWorkflow:
    @workflow.run
    async def run(self) -> list[str]:
        """Start what is missing, and return the ids of the workflows that were started."""
        found = await workflow.execute_activity_method(
            DeploymentActivities.find_leftovers, **forward("find what has not ended", deadline=DEADLINE)
        )
        started = [await _recover(each) for each in found.deployments]
        started += [await _queue(each) for each in found.queued]
        started += [await _retire(each) for each in found.orphans]
        await workflow.execute_activity_method(
            ReplicaActivities.repair_applications, **forward("bring Ray Serve to what the rows say", deadline=DEADLINE)
        )
        if workflow.patched("publish-plan"):
            await workflow.execute_activity_method(
                ReconciliationActivities.publish_plan, **forward("publish the traffic plan again", deadline=DEADLINE)
            )
        if workflow.patched("abort-withdrawn"):
            withdrawn = await workflow.execute_activity_method(
                ReconciliationActivities.find_withdrawals,
                **forward("find candidates that people took out at proxies", deadline=DEADLINE),
            )
            for each in withdrawn.withdrawals:
                await _abort(each)
        return [each.id for each in started if each is not None]


async def _abort(withdrawal: Withdrawal) -> None:
    """Abort the deployment whose candidate a person took out at a proxy; it may have ended by now."""
    deployment = workflow.get_external_workflow_handle(deployment_workflow_id(withdrawal.environment, withdrawal.model))
    try:
        await deployment.signal("abort", Abort(by=withdrawal.by, reason=f"taken out at a proxy: {withdrawal.reason}"))
    except FailureError:
        if workflow.cancellation_reason():
            raise
        workflow.logger.info("no deployment of %s is open", withdrawal.key)


async def _recover(lost: Unfinished) -> Handle | None:
    request = DeploymentInput(
        deployment_id=lost.deployment_id,
        kind=lost.kind,
        environment=lost.environment,
        model=lost.model,
        version=lost.version,
        initiated_by=lost.initiated_by,
        recover=True,
    )
    return await start_deployment(request, summary=f"recover {lost.deployment_id}, whose workflow was lost")


async def _queue(called: QueueInput) -> Handle | None:
    """Start the queue workflow of a deployment whose turn has come and that hasn't started.

    Either it is about to be started, or the workflow that should start it was lost.
    """
    deployment_id = called.request.deployment_id
    return await start_child(
        "Queue",
        called,
        workflow_id=queue_workflow_id(deployment_id),
        summary=f"start {deployment_id}, whose queue workflow was lost",
        memo={DEPLOYMENT_MEMO: deployment_id},
    )


async def _retire(orphan: ApplicationSpec) -> Handle | None:
    request = RetirementInput(
        application=orphan.name, model=orphan.model, environment=orphan.environment, after=KEEP_ORPHANS
    )
    return await start_retirement(
        request, summary=f"retire {orphan.name}, which nothing routes to, after {KEEP_ORPHANS}"
    )
