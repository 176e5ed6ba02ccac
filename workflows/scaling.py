"""Changes the number of an active version's replicas, and undoes that if the new ones don't come.

What was promised must not stay where it can't be had: an application that wants more than it gets counts as one that
can't hold all of its traffic. A later word ends an earlier one: whoever starts this terminates what runs.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.capacity import CapacityActivities
    from activities.replicas import ReplicaActivities
    from hotswap.domain.errors import ReplicasFailed
    from hotswap.messages import ResizeReplicas, ScaleReplicas, ScalingInput, ScalingOutcome
    from workflows.activity_options import forward, until_done
    from workflows.failures import cause_of

PROMISE_DEADLINE = timedelta(minutes=1)


@workflow.defn(name="Scaling")
class ScalingWorkflow:
    @workflow.run
    async def run(self, request: ScalingInput) -> ScalingOutcome:
        before = await workflow.execute_activity_method(
            ReplicaActivities.count_replicas,
            request.application,
            **forward("how many it has", deadline=PROMISE_DEADLINE),
        )
        await self._resize(request, request.replicas)
        workflow.set_current_details(f"From {before} to {request.replicas} replicas of **{request.application}**")
        wanted = {request.application: request.replicas}
        try:
            await workflow.execute_activity_method(
                ReplicaActivities.scale_replicas,
                ScaleReplicas(replicas=wanted),
                **forward(f"have {request.replicas} replicas", deadline=request.deadline),
            )
        except ActivityError as error:
            await self._resize(request, before)
            await workflow.execute_activity_method(
                ReplicaActivities.scale_replicas,
                ScaleReplicas(replicas={request.application: before}, wait=False),
                **until_done(f"go back to {before} replicas"),
            )
            said = f"it stays at {before} replicas, since more did not come: {cause_of(error).message}"
            raise ApplicationError(said, type=ReplicasFailed.code, non_retryable=True) from error
        return ScalingOutcome(before=before, replicas=request.replicas)

    async def _resize(self, request: ScalingInput, replicas: int) -> None:
        await workflow.execute_activity_method(
            CapacityActivities.resize_replicas,
            ResizeReplicas(
                application=request.application,
                deployment_id=request.deployment_id,
                replicas=replicas,
                by=request.by,
                reason=request.reason,
            ),
            **forward(f"promise {replicas} replicas", deadline=PROMISE_DEADLINE),
        )
