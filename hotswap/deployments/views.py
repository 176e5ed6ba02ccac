"""A deployment as people read it. Pure.

What a view says of the steps is derived from the recorded configuration, verified weight and verdicts, so that it needs
no worker: a deployment can be looked at while everything that works on it is down.
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from hotswap.domain.application import ReplicaResources
from hotswap.domain.backtest import BacktestReport, findings, summarized
from hotswap.domain.deployments import Deployment, StepVerdict
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.strategy import Step, immediate_steps
from hotswap.domain.validation import ValidationReport
from hotswap.domain.verdict import ArmFigures, ConcurrentFigures, MetricResult, Outcome
from hotswap.domain.vocabulary import DeploymentKind
from hotswap.schemas.responses import (
    Accepted,
    ArmView,
    BacktestView,
    CheckView,
    ConcurrentView,
    DeploymentView,
    MetricView,
    OverrideView,
    PauseView,
    ResourcesView,
    StepState,
    StepView,
    ValidationView,
    VerdictView,
)
from hotswap.schemas.strategy import CanaryConfig

_STEPPING = frozenset({DeploymentStatus.PROGRESSING, DeploymentStatus.PAUSED})


def accepted(deployment: Deployment) -> Accepted:
    return Accepted(
        deployment_id=deployment.deployment_id,
        model=deployment.model,
        version=deployment.version,
        environment=deployment.environment,
        kind=deployment.kind,
        status=deployment.status,
        workflow_id=deployment.workflow_id,
        queue_position=deployment.place.position if deployment.place is not None else None,
        message=_message(deployment),
    )


def _resources(asked: ReplicaResources) -> ResourcesView:
    return ResourcesView(
        replicas=asked.replicas,
        gpus=asked.gpus,
        cpus=asked.cpus,
        min_replicas=asked.min_replicas,
        max_replicas=asked.max_replicas,
        max_batch_size=asked.max_batch_size if asked.max_batch_size > 1 else None,
        batch_wait=timedelta(seconds=asked.batch_wait_seconds) if asked.max_batch_size > 1 else None,
    )


def deployment_view(deployment: Deployment) -> DeploymentView:
    steps = _steps(deployment)
    position = _position(deployment, steps)
    return DeploymentView(
        deployment_id=deployment.deployment_id,
        model_id=deployment.model_id,
        model=deployment.model,
        version=deployment.version,
        environment=deployment.environment,
        strategy=deployment.strategy,
        strategy_config=deployment.strategy_config,
        resources=_resources(deployment.resources),
        kind=deployment.kind,
        status=deployment.status,
        reason=deployment.reason,
        message=_message(deployment),
        progress_percentage=deployment.progress_percentage,
        traffic_percentage=deployment.verified_weight / 100,
        steps=[_step(deployment, number, step, position) for number, step in enumerate(steps)],
        current_step=None if position is None else position + 1,
        bake_ends_at=_bake_end(deployment, steps, position),
        previous_version=deployment.previous_version,
        validation=validation_view(deployment.validation) if deployment.validation is not None else None,
        backtest=backtest_view(deployment.backtest) if deployment.backtest is not None else None,
        analysis=[_verdict(verdict) for verdict in deployment.analysis],
        workflow_id=deployment.workflow_id,
        run_id=deployment.run_id,
        initiated_by=deployment.initiated_by,
        started_at=deployment.started_at,
        completed_at=deployment.completed_at,
        is_rolled_back=deployment.is_rolled_back,
        queue_position=deployment.place.position if deployment.place is not None else None,
        start_at=deployment.start_at,
        emergency=deployment.emergency,
    )


def _message(deployment: Deployment) -> str | None:
    """Return the message; for a deployment that waits, its present place, as the stored one may be out of date."""
    return deployment.place.message if deployment.place is not None else deployment.message


def _steps(deployment: Deployment) -> tuple[Step, ...]:
    was_opened = deployment.run_id is not None
    if deployment.kind is DeploymentKind.ROLLBACK or deployment.emergency is not None:
        return immediate_steps()
    try:
        config = CanaryConfig.model_validate(deployment.strategy_config)
        return config.first_plan() if was_opened and deployment.previous_version is None else config.plan()
    except ValidationError:  # written by a version of HotSwap whose configuration was another
        return ()


def _position(deployment: Deployment, steps: tuple[Step, ...]) -> int | None:
    """Return the step under way: progress is recorded as the share of steps that were passed."""
    if deployment.status not in _STEPPING or not steps:
        return None
    return min(round(deployment.progress_percentage * len(steps) / 100), len(steps) - 1)


def _step(deployment: Deployment, number: int, step: Step, position: int | None) -> StepView:
    if number == position:
        state = StepState.CURRENT
    elif position is not None:
        state = StepState.DONE if number < position else StepState.WAITING
    else:
        passed = {each.step for each in deployment.analysis if each.verdict.outcome is Outcome.PASS}
        is_done = deployment.status in {DeploymentStatus.PROMOTING, DeploymentStatus.ACTIVE} or number in passed
        state = StepState.DONE if is_done else StepState.WAITING
    return step_view(number, step, state)


def step_view(position: int, step: Step, state: StepState) -> StepView:
    """Return the view of a step, numbered as people count: the first step is 1."""
    pause = step.pause
    return StepView(
        number=position + 1,
        weight=step.weight / 100,
        bake_seconds=step.bake_seconds,
        judged=step.judged,
        pause=None if pause is None else PauseView(limit_seconds=pause.limit_seconds, on_limit=pause.on_limit),
        state=state,
    )


def _bake_end(deployment: Deployment, steps: tuple[Step, ...], position: int | None) -> datetime | None:
    """Return the end of the present bake; None until its step's weight is verified."""
    if position is None or deployment.verified_at is None or not steps[position].judged:
        return None
    if deployment.verified_weight != steps[position].weight:
        return None
    planned = deployment.verified_at + timedelta(seconds=steps[position].bake_seconds)
    # What was judged before the weight was verified is an earlier analysis of this step, which may have been extended.
    present = [
        each for each in deployment.analysis if each.step == position and each.judged_at >= deployment.verified_at
    ]
    said = (each.verdict.bake_until for each in present)
    extended = [datetime.fromtimestamp(until, UTC) for until in said if until is not None]
    return max([planned, *extended])


def validation_view(report: ValidationReport) -> ValidationView:
    checks = [
        CheckView(
            name=check.name,
            outcome=check.outcome,
            passed=check.passed,
            overridden=report.is_overridden(check),
            detail=check.detail,
        )
        for check in report.checks
    ]
    override = report.override
    return ValidationView(
        passed=report.passed,
        checks=checks,
        override=OverrideView(checks=list(override.checks), by=override.by, reason=override.reason)
        if override is not None
        else None,
    )


def backtest_view(report: BacktestReport) -> BacktestView:
    return BacktestView.model_validate(
        {
            **asdict(report),
            "at": datetime.fromtimestamp(report.at, UTC),
            "summary": summarized(report),
            "findings": findings(report),
        }
    )


def _verdict(judged: StepVerdict) -> VerdictView:
    verdict = judged.verdict
    return VerdictView(
        step=judged.step + 1,
        outcome=verdict.outcome,
        reason=verdict.reason,
        message=verdict.message,
        candidate=arm_view(verdict.candidate),
        stable=arm_view(verdict.stable),
        concurrent=concurrent_view(verdict.concurrent),
        metrics=[MetricView(**metric_fields(each)) for each in verdict.metrics],
        judged_at=judged.judged_at,
        missing_proxies=list(verdict.missing),
    )


def metric_fields(result: MetricResult) -> dict[str, Any]:
    """Return what every view of a metric's result has."""
    return {
        "name": result.name,
        "judge": result.judge,
        "outcome": result.outcome,
        "message": result.message,
        "required": result.required,
        "numbers": result.numbers,
    }


def concurrent_view(seen: ConcurrentFigures | None) -> ConcurrentView | None:
    if seen is None:
        return None
    return ConcurrentView(candidate=arm_view(seen.candidate), stable=arm_view(seen.stable), reason=seen.reason)


def arm_view(figures: ArmFigures) -> ArmView:
    return ArmView(
        requests=figures.requests,
        errors=figures.errors,
        refused=figures.refused,
        error_rate=figures.error_rate,
        latency_p50_ms=figures.latency_p50_ms,
        latency_p95_ms=figures.latency_p95_ms,
    )
