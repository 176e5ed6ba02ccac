"""Models and versions: implements `hotswap.ports.Registry`."""

import secrets
from typing import Any

import msgspec
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.application import ArtifactRef
from hotswap.domain.auditing import AuditAction
from hotswap.domain.contract import NON_FINITE, Contract
from hotswap.domain.errors import Conflict
from hotswap.domain.registry import Inspection, RegisteredModel, Registration, VersionRef
from hotswap.domain.validation import Override, ValidationReport
from hotswap.domain.vocabulary import VersionStatus
from hotswap.persistence.platform.audit import about_model, about_version
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.garbage import guard
from hotswap.persistence.tables import (
    ActiveVersion,
    AuditEvent,
    Deployment,
    Model,
    ModelVersion,
    ValidationOverride,
    VersionParent,
)
from hotswap.persistence.traffic.fencing import check_under_way


class PostgresRegistry:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add_version(self, registration: Registration, inspection: Inspection) -> VersionRef:
        async with self._sessions.begin() as session:
            model = await _model_named(session, registration)
            known = await session.scalar(
                select(ModelVersion).where(
                    ModelVersion.model_id == model.model_id, ModelVersion.version == registration.version
                )
            )
            if known is None:
                _check_team(model, registration)
                await guard(session, inspection.artifact.uri)
                known = _new_version(model, registration, inspection)
                session.add(known)
                await session.flush()  # before what refers to it
                made_from = registration.derived_from
                session.add_all(VersionParent(version_id=known.version_id, parent_id=each) for each in made_from)
                session.add(_registered(known, registration))
                session.add_all(_with_idempotence(model, registration))
            elif known.checksum != inspection.artifact.sha256:
                raise Conflict(
                    f"{registration.name} {registration.version} is registered already, with another artifact "
                    f"({known.checksum}); a version never changes, so register a new one"
                )
            return version_ref(model, known)

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
    )


async def _model_named(session: AsyncSession, registration: Registration) -> Model:
    """Return the model, created if its name is new; its row is locked, so two first versions at once make one model."""
    values: dict[str, Any] = {
        "model_id": f"model-{secrets.token_hex(6)}",
        "name": registration.name,
        "team": registration.team,
        "description": registration.description,
        "framework": registration.framework,
        "type": registration.type,
        "owner": registration.owner or registration.requested_by,
        "tags": list(registration.tags),
        "is_idempotent": registration.idempotent is not False,
    }
    await session.execute(insert(Model).values(**values).on_conflict_do_nothing(index_elements=["name"]))
    model = await session.scalar(select(Model).where(Model.name == registration.name).with_for_update())
    assert model is not None
    if model.is_archived:
        raise Conflict(f"{model.name} is archived; `hotswap models restore {model.name}` takes it back into use")
    await session.execute(update(Model).where(Model.model_id == model.model_id).values(updated_at=func.now()))
    return model


def _check_team(model: Model, registration: Registration) -> None:
    """Raise Conflict where the model isn't of the team in which its caller was admitted.

    It is checked again under the row's lock: another team's first version may have created the model since, or an
    engineer may have given it to another team.
    """
    if registration.held_to not in {None, model.team}:
        now = f"the model of team {model.team}" if model.team is not None else "a model of no team"
        raise Conflict(
            f"{model.name} has become {now} since this was let through for team {registration.held_to}, so "
            f"{registration.version} is not registered; take another name, or ask for a role there"
        )


def _with_idempotence(model: Model, registration: Registration) -> list[AuditEvent]:
    """Let the model be as this registration says, if it says it; routes have it from their next change on."""
    before, after = model.is_idempotent, registration.idempotent
    if after is None or after == before:
        return []
    model.is_idempotent = after
    return [
        about_model(
            model.model_id,
            actor=registration.requested_by,
            action=AuditAction.CHANGE_MODEL,
            reason=f"said so at the registration of {registration.version}",
            before={"idempotent": before},
            after={"idempotent": after},
        )
    ]


def _new_version(model: Model, registration: Registration, inspection: Inspection) -> ModelVersion:
    return ModelVersion(
        version_id=f"ver-{secrets.token_hex(6)}",
        model_id=model.model_id,
        version=registration.version,
        framework=registration.framework,
        artifact_path=inspection.artifact.uri,
        checksum=inspection.artifact.sha256,
        artifact_size_bytes=inspection.artifact.size_bytes,
        input_schema=inspection.input_schema,
        output_schema=inspection.output_schema | ({NON_FINITE: True} if registration.allows_non_finite else {}),
        training=registration.metadata.get("training", {}),
        baseline=registration.metadata.get("baseline", {}),
        reference_distribution=registration.metadata.get("reference_distribution", {}),
        requirements=list(inspection.requirements),
        status=VersionStatus.REGISTERED,
        created_by=registration.requested_by,
    )


def _registered(version: ModelVersion, registration: Registration) -> AuditEvent:
    return about_version(
        version.version_id,
        actor=registration.requested_by,
        action=AuditAction.REGISTER,
        after={"model": registration.name, "version": version.version, "checksum": version.checksum},
    )
