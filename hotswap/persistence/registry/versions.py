"""Versions, as deployments ask for them: implements `hotswap.ports.Registry`."""

import msgspec
from sqlalchemy import select, update

from hotswap.domain.application import ArtifactRef
from hotswap.domain.contract import Contract
from hotswap.domain.recording import Recording
from hotswap.domain.registry import RegisteredModel, VersionRef
from hotswap.domain.validation import Override, ValidationReport
from hotswap.domain.vocabulary import VersionStatus
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import ActiveVersion, Deployment, Model, ModelVersion, ValidationOverride
from hotswap.persistence.traffic.fencing import check_under_way


class PostgresRegistry:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def store_validation(self, deployment_id: str, version_id: str, report: ValidationReport) -> None:
        async with self._sessions.begin() as session:
            await check_under_way(session, deployment_id)
            await session.execute(
                update(Deployment)
                .where(Deployment.deployment_id == deployment_id)
                .values(validation={**msgspec.to_builtins(report), "passed": report.passed})
            )
            if report.passed:
                # What is approved or deployed already is not set back by validating it again.
                early = (VersionStatus.REGISTERED, VersionStatus.VALIDATING)
                await session.execute(
                    update(ModelVersion)
                    .where(ModelVersion.version_id == version_id, ModelVersion.status.in_(early))
                    .values(status=VersionStatus.VALIDATED)
                )

    async def contract_beside(self, deployment_id: str) -> Contract | None:
        wanted = (
            select(ModelVersion, Deployment.accept_contract_change)
            .join(ActiveVersion, ActiveVersion.version_id == ModelVersion.version_id)
            .join(
                Deployment,
                (Deployment.model_id == ActiveVersion.model_id) & (Deployment.environment == ActiveVersion.environment),
            )
            .where(Deployment.deployment_id == deployment_id, ActiveVersion.until.is_(None))
        )
        async with self._sessions() as session:
            row = (await session.execute(wanted)).first()
        if row is None:
            return None
        version, may_narrow = row
        return Contract(version.version, version.input_schema, version.output_schema, may_narrow)

    async def validation_override(self, version_id: str) -> Override | None:
        async with self._sessions() as session:
            row = await session.get(ValidationOverride, version_id)
        return Override(tuple(row.checks), row.created_by, row.reason) if row is not None else None


def version_ref(model: Model | RegisteredModel, version: ModelVersion) -> VersionRef:
    return VersionRef(
        version_id=version.version_id,
        model_id=model.model_id,
        model=model.name,
        version=version.version,
        framework=version.framework,
        artifact=ArtifactRef(version.artifact_path, version.checksum, version.artifact_size_bytes),
        input_schema=version.input_schema,
        output_schema=version.output_schema,
        baseline=version.baseline,
        requirements=tuple(version.requirements),
        recording=Recording(model.record_features, model.record_sample_rate, tuple(model.drop_fields)),
    )
