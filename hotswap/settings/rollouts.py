"""Settings of deployments: what they may do and take, where their judges ask, and who is told."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator

from hotswap.domain.analysis import LATENCY_FLOOR_MS
from hotswap.domain.backtest import SAMPLES
from hotswap.domain.promotion import PromotionRule
from hotswap.domain.vocabulary import Environment, Strategy
from hotswap.schemas.fields import Duration, Number
from hotswap.settings.section import Section


class PromotionSettings(Section):
    """One environment's rule, as people write it: `{"activeIn": "Staging", "for": "PT1H"}`."""

    active_in: Environment = Field(alias="activeIn")
    at_least: Duration = Field(timedelta(0), alias="for", ge=timedelta(0))

    def rule(self) -> PromotionRule:
        return PromotionRule(self.active_in, self.at_least)


class DeploymentSettings(Section):
    default_strategy: Strategy = Field(Strategy.CANARY, description="the strategy if a deployment doesn't name one")
    max_concurrent: int = Field(
        5, ge=1, description="how many deployments run at once; others wait in the order of their requests"
    )
    queue_deadline: Duration = Field(
        timedelta(days=30),
        gt=timedelta(0),
        description="how long a deployment may wait for its turn, and then for its slot",
    )
    warmup_timeout: Duration = Field(timedelta(minutes=2), description="how long a replica may take to warm up")
    approval_required: frozenset[Environment] = Field(
        frozenset({Environment.PRODUCTION}), description="environments whose deployments wait for an approval"
    )
    approval_deadline: Duration = Field(
        timedelta(days=1),
        gt=timedelta(0),
        le=timedelta(days=30),
        description="how long a start or a step may wait for its approval, if the deployment doesn't set it",
    )
    four_eyes: frozenset[Environment] = Field(
        frozenset({Environment.PRODUCTION}),
        description="environments where people can't approve their own deployment, nor under an unchecked name",
    )
    count_claimed_approvals: bool = Field(
        False,
        description="whether an approval through Temporal, where nobody checks names, counts in these environments",
    )
    monitoring_duration: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="how long a step bakes, if a deployment doesn't set it"
    )
    first_version_duration: Duration | None = Field(
        None,
        ge=timedelta(0),
        description="how long a model's first version is watched, if a deployment doesn't set it; absent: as long as a "
        "step bakes, `PT0S`: not at all",
    )
    latency_floor: Duration = Field(
        timedelta(milliseconds=LATENCY_FLOOR_MS),
        ge=timedelta(0),
        description="the smallest slowdown that may roll back, if a deployment doesn't set it; use more on busy hosts",
    )
    backtest_samples: int = Field(
        SAMPLES,
        ge=0,
        le=2_000,
        description="how many recorded requests a backtest sends, if a deployment doesn't set it; 0: no backtest",
    )
    keep_previous: Duration = Field(timedelta(minutes=30), description="how long a replaced version stays warm")
    promotion_policy: dict[Environment, PromotionSettings] = Field(
        {},
        description="for an environment, where a version must be active before, and for how long: "
        '`{"Production": {"activeIn": "Staging", "for": "PT1H"}}`',
    )

    @field_validator("promotion_policy")
    @classmethod
    def _has_a_beginning(cls, policy: dict[Environment, PromotionSettings]) -> dict[Environment, PromotionSettings]:
        for environment in policy:
            way = [environment]
            while (rule := policy.get(way[-1])) is not None:
                way.append(rule.active_in)
                if rule.active_in in way[:-1]:
                    raise ValueError(f"{' waits for '.join(way)}: nothing could ever be deployed to any of them")
        return policy


class CapacitySettings(Section):
    """The resources of Ray's cluster that deployments may take."""

    team_gpus: dict[str, Annotated[Number, Field(ge=0)]] = Field(
        {}, description="for a team, the most GPUs that all its models may use at a time; other teams have no limit"
    )
    cluster_grows: bool = Field(
        False, description="whether Ray's cluster adds nodes on demand; then only a team's limit refuses a deployment"
    )
    allow_recreate: bool = Field(
        False,
        description="whether requests may be shed where two versions have no room, if a deployment doesn't set it",
    )


class AnalysisSettings(Section):
    """The servers that a metric may ask: addresses come from here only, never from a deployment."""

    prometheus_url: str | None = Field(
        None, pattern=r"^https?://", description="the Prometheus for metrics of source `prometheus`"
    )
    prometheus_token_file: Path | None = Field(
        None, description="file with the bearer token for Prometheus, if it needs one"
    )
    webhooks: dict[str, SecretStr] = Field(
        {}, description='for each name, the address for metrics of source `webhook`: `{"fairness": "https://…"}`'
    )


class NotificationSettings(Section):
    """The addresses that are told of alerts: they come from here only."""

    webhooks: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")], SecretStr] = Field(
        {}, description='for each name, the address that gets events (CloudEvents): `{"retraining": "https://…"}`'
    )
