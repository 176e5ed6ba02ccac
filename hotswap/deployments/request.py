"""The input that starts a deployment: the request, completed from the settings."""

from datetime import timedelta
from typing import Any

from hotswap.domain.approval import FourEyes
from hotswap.domain.deployments import NewDeployment
from hotswap.domain.promotion import PromotionRule
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.messages import DeploymentInput
from hotswap.schemas.strategy import CanaryConfig
from hotswap.schemas.strategy.canary import PauseConfig, StepConfig
from hotswap.settings import DeploymentSettings, Settings


def with_defaults(config: CanaryConfig, settings: Settings) -> CanaryConfig:
    said: dict[str, Any] = {}
    if "monitoring_duration" not in config.model_fields_set:
        said["monitoring_duration"] = settings.deployments.monitoring_duration
    if "latency_floor" not in config.analysis.model_fields_set:
        said["analysis"] = config.analysis.model_copy(update={"latency_floor": settings.deployments.latency_floor})
    if "samples" not in config.backtest.model_fields_set:
        said["backtest"] = config.backtest.model_copy(update={"samples": settings.deployments.backtest_samples})
    first: dict[str, Any] = {}
    if "monitoring_duration" not in config.first_version.model_fields_set:
        first["monitoring_duration"] = settings.deployments.first_version_duration
    if "max_latency" not in config.first_version.model_fields_set:
        first["max_latency"] = settings.gateway.candidate_timeout
    said["first_version"] = config.first_version.model_copy(update=first)
    deadline = config.approval_deadline
    if "approval_deadline" not in config.model_fields_set:
        deadline = said["approval_deadline"] = settings.deployments.approval_deadline
    if config.steps is not None:
        said["steps"] = tuple(_with_limit(step, deadline) for step in config.steps)
    if config.allow_recreate is None:
        said["allow_recreate"] = settings.capacity.allow_recreate
    return config.model_copy(update=said)


def _with_limit(step: StepConfig, limit: timedelta) -> StepConfig:
    """Give a step's approval the deadline of a start's; only a step that says `null` waits without end."""
    pause = PauseConfig() if step.pause is True else step.pause
    if pause is False or "limit" in pause.model_fields_set:
        return step
    return step.model_copy(update={"pause": pause.model_copy(update={"limit": limit})})


def promotion_rule(
    settings: DeploymentSettings, environment: Environment, kind: DeploymentKind
) -> PromotionRule | None:
    written = settings.promotion_policy.get(environment)
    return None if written is None or kind is DeploymentKind.ROLLBACK else written.rule()


def deployment_input(
    settings: DeploymentSettings,
    new: NewDeployment,
    *,
    deployment_id: str,
    model: str,
    version: str,
) -> DeploymentInput:
    """Make what starts the workflow of a deployment whose row is there."""
    return DeploymentInput(
        deployment_id=deployment_id,
        kind=new.kind,
        environment=new.environment,
        model=model,
        version=version,
        initiated_by=new.initiated_by,
        config=CanaryConfig.model_validate(new.strategy_config),
        approval_required=new.kind is DeploymentKind.ROLLOUT and new.environment in settings.approval_required,
        four_eyes=FourEyes(settings.count_claimed_approvals) if new.environment in settings.four_eyes else None,
        promotion=promotion_rule(settings, new.environment, new.kind),
        keep_previous=settings.keep_previous,
        warmup_timeout=settings.warmup_timeout,
        queue_deadline=settings.queue_deadline,
        emergency=new.emergency,
    )
