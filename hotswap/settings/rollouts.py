"""What deployments may do, what they take, whom their judges ask and who is told."""

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
    default_strategy: Strategy = Field(Strategy.CANARY, description="the strategy where a deployment names none")
    max_concurrent: int = Field(5, ge=1, description="deployments that run at once; the others wait in order")
    queue_deadline: Duration = Field(
        timedelta(days=30), gt=timedelta(0), description="how long a deployment may wait for its turn, and for its slot"
    )
    warmup_timeout: Duration = Field(timedelta(minutes=2), description="how long a replica may take to warm up")
    approval_required: frozenset[Environment] = Field(
        frozenset({Environment.PRODUCTION}), description="environments whose deployments wait for an approval"
    )
    approval_deadline: Duration = Field(
        timedelta(days=1),
        gt=timedelta(0),
        le=timedelta(days=30),
        description="how long a start or a step may wait for its approval where the deployment doesn't say",
    )
    four_eyes: frozenset[Environment] = Field(
        frozenset({Environment.PRODUCTION}),
        description="environments where who asked for a deployment can't approve it, nor a name that nobody checked",
    )
    count_claimed_approvals: bool = Field(
        False, description="whether there an approval counts that came through Temporal, where names are only claimed"
    )
    monitoring_duration: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="how long a step bakes where a deployment doesn't say"
    )
    first_version_duration: Duration | None = Field(
        None,
        ge=timedelta(0),
        description="how long a model's first version is watched where a deployment doesn't say; absent: as long as a "
        "step bakes, `PT0S`: not at all",
    )
    latency_floor: Duration = Field(
        timedelta(milliseconds=LATENCY_FLOOR_MS),
        ge=timedelta(0),
        description="a slowdown by less rolls nothing back where a deployment doesn't say; more where hosts are busy",
    )
    backtest_samples: int = Field(
        SAMPLES,
        ge=0,
        le=2_000,
        description="how many recorded requests a candidate is asked where a deployment doesn't say; 0: no backtest",
    )
    keep_previous: Duration = Field(timedelta(minutes=30), description="how long a replaced version stays warm")
    promotion_policy: dict[Environment, PromotionSettings] = Field(
        {},
        description="where a version must be active, and for how long, before it may go to an environment: "
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
    """What deployments may take of Ray's cluster."""

    team_gpus: dict[str, Annotated[Number, Field(ge=0)]] = Field(
        {}, description="the most GPUs of a team at a time over all its models; others have no limit"
    )
    cluster_grows: bool = Field(
        False, description="Ray's cluster adds nodes as it is asked to: then only a team's limit refuses a deployment"
    )
    allow_recreate: bool = Field(
        False,
        description="whether requests may be turned away where two versions have no room, if a deployment doesn't say",
    )


class AnalysisSettings(Section):
    """Whom a metric may ask: addresses come from here only, never from a deployment."""

    prometheus_url: str | None = Field(
        None, pattern=r"^https?://", description="the Prometheus that metrics of source `prometheus` ask"
    )
    prometheus_token_file: Path | None = Field(None, description="bearer token that Prometheus wants, if it does")
    webhooks: dict[str, SecretStr] = Field(
        {}, description='by name, where metrics of source `webhook` ask: `{"fairness": "https://…"}`'
    )


class NotificationSettings(Section):
    """Who is told of what the monitor finds: addresses come from here only."""

    webhooks: dict[Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}$")], SecretStr] = Field(
        {}, description='by name, where events are sent (CloudEvents): `{"retraining": "https://…"}`'
    )
