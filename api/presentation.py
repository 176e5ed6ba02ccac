"""Models, versions and figures as people read them: what the database holds, turned into the API's views. Pure."""

from dataclasses import asdict

from hotswap.domain.contract import allows_non_finite
from hotswap.domain.registry import Lineage, ModelEntry, RegisteredModel, VersionEntry
from hotswap.domain.traffic import Counts
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.monitoring.drift import DriftRecord
from hotswap.persistence.records.measures import MeasureWindow
from hotswap.schemas.responses import (
    CardView,
    ClientView,
    DriftView,
    FeatureDriftView,
    LatencyView,
    LineageView,
    MetricsView,
    ModelView,
    QualityView,
    RelativeView,
    VersionView,
)

_QUANTILES = (0.5, 0.95, 0.99)


def model_view(row: ModelEntry) -> ModelView:
    model = row.model
    return ModelView(
        model_id=model.model_id,
        name=model.name,
        description=model.description,
        framework=model.framework,
        type=model.type,
        owner=model.owner,
        team=model.team,
        tags=model.tags,
        idempotent=model.is_idempotent,
        record_features=model.record_features,
        record_sample_rate=model.record_sample_rate,
        drop_fields=model.drop_fields,
        active_version=model.active_version,
        active_versions=row.active_versions,
        aliases=row.aliases,
        is_archived=model.is_archived,
        created_at=model.created_at,
        updated_at=model.updated_at,
    )


def lineage_view(row: VersionEntry, found: Lineage) -> LineageView:
    return LineageView(
        model=row.ref.model,
        version=row.ref.version,
        version_id=row.ref.version_id,
        ancestors=[RelativeView.model_validate(asdict(each)) for each in found.ancestors],
        descendants=[RelativeView.model_validate(asdict(each)) for each in found.descendants],
    )


def card_view(row: VersionEntry) -> CardView:
    return CardView(model=row.ref.model, version=row.ref.version, text=row.version.card)


def version_view(row: VersionEntry) -> VersionView:
    version = row.version
    return VersionView(
        version_id=version.version_id,
        model_id=version.model_id,
        model=row.ref.model,
        version=version.version,
        framework=version.framework,
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
        status=version.status,
        approved_by=version.approved_by,
        approved_at=version.approved_at,
        is_deprecated=version.is_deprecated,
        deprecation=version.deprecation,
        aliases=list(row.aliases),
        created_by=version.created_by,
        created_at=version.created_at,
    )


def metrics_view(
    model: RegisteredModel,
    environment: Environment,
    version: str | None,
    seen: MeasureWindow,
    drift: DriftRecord | None,
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


def drift_view(row: DriftRecord) -> DriftView:
    return DriftView(
        model=row.model,
        version=row.version,
        environment=row.environment,
        at=row.at,
        since=row.since,
        reference=row.reference,
        samples=row.samples,
        distance=row.distance,
        is_drifted=row.is_drifted,
        message=row.message,
        features={name: FeatureDriftView(**each) for name, each in row.features.items()},
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
