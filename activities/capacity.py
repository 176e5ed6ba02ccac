"""What replicas may be had: a plan before a deployment's start, since the cluster may be another than when it was asked
for, and a promise before what serves is scaled.
"""

from temporalio import activity

from activities.heartbeating import heartbeating
from hotswap.deployments.capacity import Planner, Wanted
from hotswap.domain.errors import InsufficientCapacity, ValidationFailed
from hotswap.domain.strategy import immediate_steps
from hotswap.messages import PlanCapacity, PlannedCapacity, ResizeReplicas


class CapacityActivities:
    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    @activity.defn
    @heartbeating
    async def plan_capacity(self, request: PlanCapacity) -> PlannedCapacity:
        """Return the plan with what it takes promised. Raises InsufficientCapacity with the sum."""
        spec = request.spec
        wanted = Wanted(
            application=spec.name,
            environment=spec.environment,
            model=spec.model,
            version=spec.version,
            resources=spec.resources,
            stable=request.stable,
            steps=immediate_steps() if request.immediate else request.config.plan(),
            allow_recreate=bool(request.config.allow_recreate),
        )
        try:
            planned = await self._planner.plan(spec, wanted)
        except ValidationFailed as never:
            # It fitted when it was asked for, so it is the cluster that has changed.
            raise InsufficientCapacity(never.message) from never
        return PlannedCapacity(plan=planned.plan, retired=planned.retire, released=planned.scale_by_load)

    @activity.defn
    @heartbeating
    async def resize_replicas(self, request: ResizeReplicas) -> None:
        """Promise what serves so many replicas. Raises InsufficientCapacity, ValidationFailed and Conflict."""
        await self._planner.scale(
            request.application,
            deployment_id=request.deployment_id,
            replicas=request.replicas,
            by=request.by,
            reason=request.reason,
        )
