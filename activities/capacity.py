"""Capacity for replicas: a plan before a deployment starts, and a promise before a version that serves is scaled.

The plan is made again at the start, since the cluster may have changed since the deployment was asked for.
"""

from temporalio import activity

from activities.heartbeating import heartbeating
from hotswap.deployments.capacity import Planner
from hotswap.domain.errors import InsufficientCapacity, ValidationFailed
from hotswap.domain.strategy import immediate_steps
from hotswap.messages import PlanCapacity, PlannedCapacity, ResizeReplicas


class CapacityActivities:
    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    @activity.defn
    @heartbeating
    async def plan_capacity(self, request: PlanCapacity) -> PlannedCapacity:
        """Return the plan, with its replicas promised.

        Raises InsufficientCapacity with the sum that shows why it doesn't fit.
        """
        steps = immediate_steps() if request.immediate else request.config.plan()
        try:
            planned = await self._planner.plan(
                request.spec,
                stable=request.stable,
                steps=steps,
                allow_recreate=bool(request.config.allow_recreate),
                deployment_id=request.deployment_id,
            )
        except ValidationFailed as never:
            # It fitted when it was asked for, so it is the cluster that has changed.
            raise InsufficientCapacity(never.message) from never
        return PlannedCapacity(plan=planned.plan, retired=planned.retire, released=planned.scale_by_load)

    @activity.defn
    @heartbeating
    async def resize_replicas(self, request: ResizeReplicas) -> None:
        """Promise so many replicas to an application that serves.

        Raises InsufficientCapacity, ValidationFailed and Conflict.
        """
        await self._planner.scale(
            request.application,
            deployment_id=request.deployment_id,
            replicas=request.replicas,
            by=request.by,
            reason=request.reason,
        )
