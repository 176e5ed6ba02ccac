"""`strategyConfig` as people write it, and the steps that follow from it."""

from datetime import timedelta
from typing import Annotated

from pydantic import AliasChoices, Field

from hotswap.domain.strategy import Step, Thresholds, canary_steps
from hotswap.messages.base import Duration, Message


class RollbackThresholds(Message):
    accuracy_drop: float = Field(0.05, ge=0, le=1)
    latency_increase: float = Field(1.5, ge=1)
    error_rate_increase: float = Field(0.01, ge=0, le=1)
    drift: float = Field(0.3, ge=0)


class CanaryConfig(Message):
    """`strategyConfig` of a Canary; durations are ISO-8601.

    A bake with fewer than `minimumRequests` answered well by each arm is extended until `bakeDeadline` after its begin,
    and then rolls back; absent, it is three times the monitoring duration and at least a minute more.
    """

    canary_percentage: float = Field(
        10, gt=0, le=100, validation_alias=AliasChoices("canaryPercentage", "initialPercentage", "canary_percentage")
    )
    increment_step: float = Field(15, gt=0, le=100)
    monitoring_duration: Duration = timedelta(minutes=5)
    bake_deadline: Duration | None = None
    minimum_requests: int = Field(50, ge=1)
    progress_deadline: Annotated[timedelta, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = Field(
        timedelta(minutes=10), description="how long validating, starting replicas or verifying one weight may take"
    )
    approval_deadline: Duration = Field(timedelta(days=1), description="how long it may wait for an approval")
    rollback_thresholds: RollbackThresholds = Field(
        RollbackThresholds(),
        validation_alias=AliasChoices("rollbackThresholds", "thresholds", "rollback_thresholds"),
    )

    def steps(self) -> tuple[Step, ...]:
        """Raises ValidationFailed when they would be too many."""
        bake = self.monitoring_duration.total_seconds()
        deadline = self.bake_deadline.total_seconds() if self.bake_deadline is not None else max(3 * bake, bake + 60)
        return canary_steps(
            canary_percentage=self.canary_percentage,
            increment_step=self.increment_step,
            bake_seconds=bake,
            deadline_seconds=max(bake, deadline),
        )

    def thresholds(self) -> Thresholds:
        return Thresholds(
            error_rate_increase=self.rollback_thresholds.error_rate_increase,
            latency_increase=self.rollback_thresholds.latency_increase,
        )
