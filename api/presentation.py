"""Rows as people read them: what the database holds, turned into the API's views. Pure.

What a view says of the steps is derived from the recorded configuration, verified weight and verdicts, so that it needs
no worker: a deployment can be looked at while everything that works on it is down.
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pydantic import ValidationError

from hotswap.domain.application import ReplicaResources
from hotswap.domain.backtest import BacktestReport, findings, summarised
from hotswap.domain.contract import allows_non_finite
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.strategy import Step, immediate_steps
from hotswap.domain.traffic import Counts
from hotswap.domain.validation import ValidationReport
from hotswap.domain.verdict import ArmFigures, ConcurrentFigures, MetricResult, Outcome, Verdict
from hotswap.domain.vocabulary import DeploymentKind, Environment, Framework, ModelType, Strategy, VersionStatus
from hotswap.persistence.analysis.backtests import backtest_of
from hotswap.persistence.deployments.rows import DeploymentRow, ModelRow, StepVerdict, VersionRow
from hotswap.persistence.monitoring.drift import ReportRow
from hotswap.persistence.records.measures import Window
from hotswap.persistence.registry.lineage import Lineage
from hotswap.persistence.registry.validations import report_of
from hotswap.persistence.tables import Deployment, Model
from hotswap.schemas.responses import (
    Accepted,
    ArmView,
    BacktestView,
    CardView,
    CheckView,
    ClientView,
    ConcurrentView,
    DeploymentView,
    DriftView,
    FeatureDriftView,
    LatencyView,
    LineageView,
    MetricsView,
    MetricView,
    ModelView,
    OverrideView,
    PauseView,
    QualityView,
    RelativeView,
    ResourcesView,
    StepState,
    StepView,
    ValidationView,
    VerdictView,
    VersionView,
)
from hotswap.schemas.strategy import CanaryConfig

_QUANTILES = (0.5, 0.95, 0.99)
_STEPPING = frozenset({DeploymentStatus.PROGRESSING, DeploymentStatus.PAUSED})


def model_view(row: ModelRow) -> ModelView:
    model = row.model
    return ModelView(
        model_id=model.model_id,
        name=model.name,
        description=model.description,
        framework=Framework(model.framework),
        type=ModelType(model.type),
        owner=model.owner,
        team=model.team,
        tags=model.tags,
        idempotent=model.is_idempotent,
        active_version=model.active_version,
        active_versions=row.active_versions,
        aliases=row.aliases,
        is_archived=model.is_archived,
        created_at=model.created_at,
        updated_at=model.updated_at,
    )


def lineage_view(row: VersionRow, found: Lineage) -> LineageView:
    return LineageView(
        model=row.ref.model,
        version=row.ref.version,
        version_id=row.ref.version_id,
        ancestors=[RelativeView.model_validate(asdict(each)) for each in found.ancestors],
        descendants=[RelativeView.model_validate(asdict(each)) for each in found.descendants],
    )


def card_view(row: VersionRow) -> CardView:
    return CardView(model=row.ref.model, version=row.ref.version, text=row.version.card)


def version_view(row: VersionRow) -> VersionView:
    version = row.version
    return VersionView(
        version_id=version.version_id,
        model_id=version.model_id,
        model=row.ref.model,
        version=version.version,
        framework=Framework(version.framework),
        artifact_path=version.artifact_path,
        checksum=version.checksum,
        artifact_size_bytes=version.artifact_size_bytes,
        input_schema=version.input_schema,
        output_schema=version.output_schema,
        training_metadata=version.training,
        performance_baseline=version.baseline,
        reference_distribution=version.reference_distribution,
        requirements=version.requirements,
        allows_non_finite=allows_non_finite(version.output_schema),
        status=VersionStatus(version.status),
        approved_by=version.approved_by,
        approved_at=version.approved_at,
        is_deprecated=version.is_deprecated,
        deprecation=version.deprecation,
        aliases=list(row.aliases),
        created_by=version.created_by,
        created_at=version.created_at,
    )


def metrics_view(
    model: Model, environment: Environment, version: str | None, seen: Window, drift: ReportRow | None
) -> MetricsView:
    measures = seen.measures
    judged = measures.requests - measures.refused
    p50, p95, p99 = measures.latency_quantiles(*_QUANTILES)
    return MetricsView(
        model_id=model.model_id,
        model=model.name,
        environment=environment,
        version=version,
        begin=seen.begin,
        end=seen.end,
        total=measures.requests,
        succeeded=judged - measures.failures,
        failed=measures.failures,
        refused=measures.refused,
        success_rate=(judged - measures.failures) / judged if judged else None,
        requests_per_second=measures.requests / (seen.end - seen.begin).total_seconds(),
        latency_ms=LatencyView(average=measures.latency_mean, p50=p50, p95=p95, p99=p99),
        confidence=measures.confidence.mean,
        prediction=measures.prediction.mean,
        clients=_clients(seen.clients),
        accuracy=seen.quality.accuracy,
        quality=QualityView(
            outcomes=seen.quality.scored,
            precision=seen.quality.precision,
            recall=seen.quality.recall,
            f1=seen.quality.f1,
            mae=seen.quality.mae,
            rmse=seen.quality.rmse,
        ),
        drift=drift_view(drift) if drift is not None else None,
    )


def drift_view(row: ReportRow) -> DriftView:
    report = row.report
    return DriftView(
        model=row.model,
        version=row.version,
        environment=Environment(report.environment),
        at=report.at,
        since=report.since,
        reference=report.reference,
        samples=report.samples,
        distance=report.distance,
        is_drifted=report.is_drifted,
        message=report.message,
        features={name: FeatureDriftView(**each) for name, each in report.features.items()},
    )


def _clients(counts: Counts) -> ClientView:
    p50, p95, p99 = (counts.latency_quantile_ms(quantile) for quantile in _QUANTILES)
    return ClientView(
        total=counts.completed,
        failed=counts.server_errors,
        refused=counts.client_errors,
        fell_back=counts.fell_back,
        latency_ms=LatencyView(average=None, p50=p50, p95=p95, p99=p99),
    )


def accepted(row: DeploymentRow) -> Accepted:
    deployment = row.deployment
    return Accepted(
        deployment_id=deployment.deployment_id,
        model=row.model,
        version=row.version,
        environment=Environment(deployment.environment),
        kind=DeploymentKind(deployment.kind),
        status=DeploymentStatus(deployment.status),
        workflow_id=deployment.workflow_id,
        queue_position=row.place.position if row.place is not None else None,
        message=_message(row),
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


def deployment_view(row: DeploymentRow) -> DeploymentView:
    deployment = row.deployment
    status = DeploymentStatus(deployment.status)
    steps = _steps(row)
    position = _position(deployment, status, steps)
    return DeploymentView(
        deployment_id=deployment.deployment_id,
        model_id=deployment.model_id,
        model=row.model,
        version=row.version,
        environment=Environment(deployment.environment),
        strategy=Strategy(deployment.strategy),
        strategy_config=deployment.strategy_config,
        resources=_resources(msgspec.convert(deployment.resources, ReplicaResources)),
        kind=DeploymentKind(deployment.kind),
        status=status,
        reason=deployment.reason,
        message=_message(row),
        progress_percentage=deployment.progress_percentage,
        traffic_percentage=deployment.verified_weight / 100,
        steps=[_step(row, number, step, status, position) for number, step in enumerate(steps)],
        current_step=None if position is None else position + 1,
        bake_ends_at=_bake_end(row, steps, position),
        previous_version=row.previous_version,
        validation=validation_view(report_of(deployment.validation)) if deployment.validation is not None else None,
        backtest=backtest_view(backtest_of(deployment.backtest)) if deployment.backtest is not None else None,
        analysis=[_verdict(verdict) for verdict in row.analysis],
        workflow_id=deployment.workflow_id,
        run_id=deployment.run_id,
        initiated_by=deployment.initiated_by,
        started_at=deployment.started_at,
        completed_at=deployment.completed_at,
        is_rolled_back=deployment.is_rolled_back,
        queue_position=row.place.position if row.place is not None else None,
        start_at=deployment.start_at,
        emergency=deployment.emergency,
    )


def _message(row: DeploymentRow) -> str | None:
    """Where it stands, for one that waits: what is written down may be from when it came."""
    return row.place.message if row.place is not None else row.deployment.message


def _steps(row: DeploymentRow) -> tuple[Step, ...]:
    deployment = row.deployment
    was_opened = deployment.run_id is not None
    if deployment.kind == DeploymentKind.ROLLBACK or deployment.emergency is not None:
        return immediate_steps()
    try:
        config = CanaryConfig.model_validate(deployment.strategy_config)
        return config.first_plan() if was_opened and row.previous_version is None else config.plan()
    except ValidationError:  # written by a version of HotSwap whose configuration was another
        return ()


def _position(deployment: Deployment, status: DeploymentStatus, steps: tuple[Step, ...]) -> int | None:
    """The step under way: progress is recorded as the share of steps that were passed."""
    if status not in _STEPPING or not steps:
        return None
    return min(round(deployment.progress_percentage * len(steps) / 100), len(steps) - 1)


def _step(row: DeploymentRow, number: int, step: Step, status: DeploymentStatus, position: int | None) -> StepView:
    if number == position:
        state = StepState.CURRENT
    elif position is not None:
        state = StepState.DONE if number < position else StepState.WAITING
    else:
        passed = {each.step for each in row.analysis if each.verdict.get("outcome") == Outcome.PASS}
        is_done = status in {DeploymentStatus.PROMOTING, DeploymentStatus.ACTIVE} or number in passed
        state = StepState.DONE if is_done else StepState.WAITING
    return step_view(number, step, state)


def step_view(position: int, step: Step, state: StepState) -> StepView:
    """As people count: the first step is 1."""
    pause = step.pause
    return StepView(
        number=position + 1,
        weight=step.weight / 100,
        bake_seconds=step.bake_seconds,
        judged=step.judged,
        pause=None if pause is None else PauseView(limit_seconds=pause.limit_seconds, on_limit=pause.on_limit),
        state=state,
    )


def _bake_end(row: DeploymentRow, steps: tuple[Step, ...], position: int | None) -> datetime | None:
    """Known once the present step's weight is verified; before that the last verification was another step's."""
    deployment = row.deployment
    if position is None or deployment.verified_at is None or not steps[position].judged:
        return None
    if deployment.verified_weight != steps[position].weight:
        return None
    planned = deployment.verified_at + timedelta(seconds=steps[position].bake_seconds)
    # What was judged before the weight was verified is an earlier analysis of this step, which may have been extended.
    present = [each for each in row.analysis if each.step == position and each.judged_at >= deployment.verified_at]
    said = (each.verdict.get("bake_until") for each in present)
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
            "summary": summarised(report),
            "findings": findings(report),
        }
    )


def _verdict(row: StepVerdict) -> VerdictView:
    verdict = msgspec.convert(row.verdict, Verdict)
    return VerdictView(
        step=row.step + 1,
        outcome=verdict.outcome,
        reason=verdict.reason,
        message=verdict.message,
        candidate=arm_view(verdict.candidate),
        stable=arm_view(verdict.stable),
        concurrent=concurrent_view(verdict.concurrent),
        metrics=[MetricView(**metric_fields(each)) for each in verdict.metrics],
        judged_at=row.judged_at,
        missing_proxies=list(verdict.missing),
    )


def metric_fields(result: MetricResult) -> dict[str, Any]:
    """What every view of a metric's result has."""
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
