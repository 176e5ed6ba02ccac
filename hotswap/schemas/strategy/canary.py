"""`strategyConfig` as people write it, and the steps that follow from it."""

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, Source
from hotswap.domain.application import ReplicaResources
from hotswap.domain.backtest import SAMPLES, BacktestLimits, OnBreach
from hotswap.domain.capacity import OnAbort, held
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.strategy import (
    OnLimit,
    OnNoVerdict,
    Rules,
    Step,
    StepPause,
    canary_steps,
    first_steps,
    up_to_full,
)
from hotswap.schemas.base import Message
from hotswap.schemas.fields import Duration, Flag, Number, Whole, spelled
from hotswap.schemas.strategy.analysis import AnalysisConfig
from hotswap.schemas.strategy.thresholds import RollbackThresholds

CANARY_PERCENTAGE = 10
INCREMENT_STEP = 15

BoundedDuration = Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=30))]
"""ISO-8601 in JSON, at most 30 days."""


class PauseConfig(Message):
    """A step's wait for an approval: `onLimit` says what happens after `limit` (null: no limit).

    In a request for a deployment, an absent `limit` becomes its `approvalDeadline`.
    """

    limit: BoundedDuration | None = None
    on_limit: OnLimit = OnLimit.ABORT

    def pause(self) -> StepPause:
        return StepPause(self.limit.total_seconds() if self.limit is not None else None, self.on_limit)


def _one_form(pause: Any) -> Any:
    """Read an object as a PauseConfig, so that an error names its own fields."""
    return PauseConfig.model_validate(pause) if isinstance(pause, dict) else pause


class ScaleConfig(Message):
    replicas: Whole = Field(ge=1, le=100, description="the candidate's replicas from this step on")


class StepConfig(Message):
    """One of `steps`: a weight in percent, its bake, whether it is judged, and whether it waits for an approval.

    Without `weight` the weight of the step before stays. A lower weight needs `down`, since it moves callers back to
    the stable. A step at weight 0 is never judged. `scale` is how many replicas the candidate has from this step on;
    without it the capacity plan decides.
    """

    weight: Number | None = Field(None, ge=0, le=100)
    bake: BoundedDuration | None = Field(None, description="how long it is watched; absent: `monitoringDuration`")
    analysis: Flag = True
    pause: Annotated[Flag | PauseConfig, BeforeValidator(_one_form)] = Field(
        False, description="whether the rollout waits for an approval after this step"
    )
    scale: ScaleConfig | None = None
    down: Flag = Field(False, description="confirms that the weight is below that of the step before")

    @field_validator("weight")
    @classmethod
    def _in_hundredths(cls, weight: float | None) -> float | None:
        if weight is not None and abs(weight * 100 - round(weight * 100)) > 1e-6:
            raise ValueError("has more than two decimals; weights are in hundredths of a percent")
        return weight


class BacktestConfig(Message):
    """The backtest: before any weight the candidate gets the stable's recorded requests. `samples` 0 leaves it out.

    A share above a limit, by evidence, is a breach. Answers that differ wait for a person in Production and are only
    reported elsewhere; with `maxDisagreement` null they hold nothing up.
    """

    samples: Whole = Field(
        SAMPLES, ge=0, le=2_000, description="recorded requests of the last 24 hours; 0: no backtest"
    )
    max_refusals: Number = Field(
        0.01, ge=0, le=1, description="the share of requests that the candidate may refuse (4xx)"
    )
    max_failures: Number = Field(0.01, ge=0, le=1, description="the share of requests that the candidate may fail")
    max_disagreement: Number | None = Field(
        0.3, ge=0, le=1, description="the share that it may answer unlike the stable"
    )
    score_tolerance: Number | None = Field(
        None, ge=0, description="how far two scores may be apart; absent: half a standard deviation of the stable's"
    )
    on_breach: OnBreach = Field(OnBreach.FAIL, description="what refusals and failures lead to")

    def limits(self) -> BacktestLimits:
        return BacktestLimits(self.max_refusals, self.max_failures, self.max_disagreement, self.on_breach)


SLOW = 0.05
"""The share of a first version's answers that may take longer than its `maxLatency`: then its p95 is above it."""


class FirstVersionConfig(Message):
    """The watch on a model's first version once it has all traffic: by limits, since there is nothing to compare with.

    A share above a limit, by evidence, is a breach: the deployment ends as failed, and the version goes on serving.
    """

    monitoring_duration: BoundedDuration | None = Field(
        None, description="how long it is watched; absent: the strategy's `monitoringDuration`, PT0S: not at all"
    )
    max_failures: Number = Field(0.05, ge=0, lt=1, description="the share of requests that may fail (5xx, no answer)")
    max_refusals: Number = Field(0.5, ge=0, lt=1, description="the share that may be refused (4xx)")
    max_latency: Annotated[BoundedDuration, Field(gt=timedelta(0), le=timedelta(hours=1))] = Field(
        timedelta(seconds=5), description=f"the latency that at most {SLOW:.0%} of all answers may exceed"
    )

    def metrics(self, *, minimum_requests: int) -> tuple[Metric, ...]:
        limits = (
            ("errors", Source.ERRORS, self.max_failures, None),
            ("refusals", Source.REFUSALS, self.max_refusals, None),
            ("latency", Source.LATENCY, SLOW, self.max_latency / timedelta(milliseconds=1)),
        )
        return tuple(
            Metric(name, source, JudgeName.LIMIT, threshold=share, maximum=maximum, samples=minimum_requests)
            for name, source, share, maximum in limits
        )


class CanaryConfig(Message):
    """`strategyConfig` of a Canary; durations are ISO-8601.

    The weights are a ramp (`canaryPercentage` 10, `incrementStep` 15) or `steps`. A bake is extended while an arm has
    answered fewer than `minimumRequests` well, until `bakeDeadline` after its begin; by default that is three
    times the monitoring duration and at least a minute more. Without a verdict by then the deployment rolls back or is
    held, as `onNoVerdict` says. If nobody ends a pause or a hold within `pauseDeadline`, the deployment rolls back. If
    the stable has too few replicas then, its excess requests are shed or sent to the candidate, as `onAbort` says.
    """

    canary_percentage: Number | None = Field(
        None, gt=0, le=100, validation_alias=AliasChoices("canaryPercentage", "initialPercentage", "canary_percentage")
    )
    increment_step: Number | None = Field(None, gt=0, le=100)
    steps: tuple[StepConfig, ...] | None = Field(None, min_length=1)
    monitoring_duration: BoundedDuration = timedelta(minutes=5)
    bake_deadline: BoundedDuration | None = None
    minimum_requests: Whole = Field(50, ge=1)
    on_no_verdict: OnNoVerdict = OnNoVerdict.ROLLBACK
    pause_deadline: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(days=365))] | None = Field(
        timedelta(days=1), description="how long a pause or a hold may last; null: no limit"
    )
    progress_deadline: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1))] = Field(
        timedelta(minutes=10),
        description="how long a validation, a start of replicas or the verification of one weight may take",
    )
    on_abort: OnAbort = OnAbort.SHED
    allow_recreate: Flag | None = Field(
        None, description="whether requests may be shed if there is no room for two versions at a time"
    )
    approval_deadline: BoundedDuration = Field(
        timedelta(days=1), description="how long the deployment may wait for an approval"
    )
    rollback_thresholds: RollbackThresholds = Field(
        RollbackThresholds(),
        validation_alias=AliasChoices("rollbackThresholds", "thresholds", "rollback_thresholds"),
    )
    backtest: BacktestConfig = Field(
        BacktestConfig(), description="the backtest on the stable's recorded requests, before any weight"
    )
    first_version: FirstVersionConfig = Field(
        FirstVersionConfig(), description="the watch on a model's first version, which goes to 100% at once"
    )
    analysis: AnalysisConfig = Field(AnalysisConfig(), description="the metrics that are judged, and how")

    @model_validator(mode="after")
    def _one_way_to_say_weights(self) -> Self:
        if self.steps is not None:
            ramp = {"canaryPercentage": self.canary_percentage, "incrementStep": self.increment_step}
            if said := [name for name, value in ramp.items() if value is not None]:
                raise ValueError(f"steps and {' and '.join(said)} both set the weights; give one of them")
        return self

    def plan(self) -> tuple[Step, ...]:
        """Return the steps, the last of them at 100%. Raises ValidationFailed if there would be too many."""
        bake = self.monitoring_duration
        if self.steps is None:
            return canary_steps(
                canary_percentage=CANARY_PERCENTAGE if self.canary_percentage is None else self.canary_percentage,
                increment_step=INCREMENT_STEP if self.increment_step is None else self.increment_step,
                bake_seconds=bake.total_seconds(),
                deadline_seconds=self._deadline(bake),
            )
        return up_to_full(
            self._listed(self.steps), bake_seconds=bake.total_seconds(), deadline_seconds=self._deadline(bake)
        )

    def _listed(self, steps: tuple[StepConfig, ...]) -> list[Step]:
        listed: list[Step] = []
        weight, replicas = 0, None
        for said in steps:
            weight = weight if said.weight is None else round(said.weight * 100)
            bake = said.bake if said.bake is not None else self.monitoring_duration
            replicas = said.scale.replicas if said.scale is not None else replicas
            pause = PauseConfig() if said.pause is True else said.pause or None
            listed.append(
                Step(
                    weight,
                    bake.total_seconds(),
                    self._deadline(bake),
                    judged=said.analysis and weight > 0,
                    pause=pause.pause() if pause is not None else None,
                    candidate_replicas=replicas,
                )
            )
        return listed

    def _deadline(self, bake: timedelta) -> float:
        seconds = bake.total_seconds()
        said = self.bake_deadline.total_seconds() if self.bake_deadline is not None else max(3 * seconds, seconds + 60)
        return max(seconds, said)

    def check(self) -> None:
        """Check that nothing in the configuration contradicts itself. Raises ValidationFailed naming the field.

        These are no rules of the message itself: what was accepted before there were any is still read, and goes on.
        """
        self.check_directions()
        longest = timedelta(seconds=max(step.bake_seconds for step in self.plan()))
        if self.bake_deadline is not None and self.bake_deadline < longest:
            raise ValidationFailed.of(
                "bakeDeadline",
                f"{spelled(self.bake_deadline)} ends before the bake of {spelled(longest)}; write "
                f"{spelled(longest)} or more, make the bake shorter (monitoringDuration, or a step's bake), or leave "
                "bakeDeadline out",
            )

    def check_directions(self) -> None:
        """Check that a weight goes down only in a step with `down`. Raises ValidationFailed naming the field."""
        before = 0.0
        for number, step in enumerate(self.steps or ()):
            weight = before if step.weight is None else step.weight
            if weight < before and not step.down:
                raise ValidationFailed.of(
                    f"steps.{number}.weight",
                    f"goes down from {before:g} to {weight:g}, which moves callers back to the stable; write more than "
                    f'{before:g}, or `"down": true` in this step if that is meant',
                )
            if weight >= before and step.down:
                raise ValidationFailed.of(
                    f"steps.{number}.down",
                    f"is set for a weight of {weight:g}, which is not below the {before:g} before it; leave it out",
                )
            before = weight

    def check_scale(self, resources: ReplicaResources) -> None:
        """Check that each step's replicas hold its weight. Raises ValidationFailed naming the field."""
        replicas = resources.replicas
        for number, step in enumerate(self.plan()):
            said = step.candidate_replicas
            if said is None:
                continue
            if resources.scales_by_load:
                raise ValidationFailed.of(
                    f"steps.{number}.scale", "needs a fixed number of replicas, but bounds are given"
                )
            if said > replicas:
                raise ValidationFailed.of(
                    f"steps.{number}.scale", f"{said} replicas are more than the {replicas} for all of the traffic"
                )
            if (share := held(said, replicas)) < step.weight:
                raise ValidationFailed.of(
                    f"steps.{number}.scale",
                    f"{said} of {replicas} replicas hold {share / 100:g}%, less than its {step.weight / 100:g}%",
                )

    def rules(self) -> Rules:
        limit = self.pause_deadline.total_seconds() if self.pause_deadline is not None else None
        return Rules(pause=StepPause(limit), on_no_verdict=self.on_no_verdict)

    def analysis_policy(self) -> AnalysisPolicy:
        defaults = self.rollback_thresholds.metrics(minimum_requests=self.minimum_requests)
        return self.analysis.policy(defaults, minimum_requests=self.minimum_requests)

    def first_plan(self) -> tuple[Step, ...]:
        """Return the one step of a model's first version."""
        said = self.first_version.monitoring_duration
        watched = self.monitoring_duration if said is None else said
        return first_steps(watch_seconds=watched.total_seconds())

    def first_policy(self) -> AnalysisPolicy:
        """Return the policy for a first version: its limits, and those of `analysis.metrics` that compare nothing."""
        policy = self.analysis_policy()
        limits = self.first_version.metrics(minimum_requests=self.minimum_requests)
        own = [each for each in policy.metrics if self.analysis.metrics is not None and each.is_absolute]
        taken = {each.name for each in own}
        return replace(
            policy,
            metrics=(*(each for each in limits if each.name not in taken), *own),
            promote_early=False,
            sample_ratio=False,
        )
