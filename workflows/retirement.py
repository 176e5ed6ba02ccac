"""Stops a replaced version's replicas once its keep time is over; a rollback to that version cancels this first."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.replicas import ReplicaActivities
    from hotswap.domain.errors import Conflict
    from hotswap.messages import RetirementInput
    from workflows.activity_options import until_done


@workflow.defn(name="Retirement")
class RetirementWorkflow:
    @workflow.run
    async def run(self, request: RetirementInput) -> str:
        workflow.set_current_details(f"Keeps **{request.application}** warm for {request.after}, then stops it")
        await workflow.sleep(request.after, summary=f"keep {request.application} warm")
        try:
            await workflow.execute_activity_method(
                ReplicaActivities.retire_replicas,
                request.application,
                **until_done(f"stop {request.application}"),
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.type == Conflict.code:
                return f"{request.application} takes part in a route again and stays"
            raise
        return f"{request.application} is gone"
