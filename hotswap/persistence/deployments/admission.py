"""Admission of a requested deployment: what is out of use, frozen environments, and what waits already.

It is checked in the transaction that inserts the row, so a refusal leaves nothing behind. Whether another deployment of
the model runs is not checked here: Temporal's workflow id is the lock for that, also if a row tells of a run that was
lost.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditActions
from hotswap.domain.deployments import Deployment, NewDeployment
from hotswap.domain.errors import Conflict, ValidationFailed
from hotswap.domain.ids import deployment_workflow_id, queue_workflow_id
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.queueing import HOW_TO_WAIT
from hotswap.domain.registry import VersionRef
from hotswap.domain.times import written
from hotswap.domain.vocabulary import DeploymentKind, Environment, OnConflict
from hotswap.persistence.deployments.freezes import freezes_in_force
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.deployments.transitions import is_queued
from hotswap.persistence.platform.audit import about_deployment
from hotswap.persistence.platform.database import Sessions, clock
from hotswap.persistence.tables import ENDED, AuditEvent, Model, ModelVersion
from hotswap.persistence.tables import Deployment as Row


class PostgresAdmissions:
    """Implements `hotswap.ports.Admissions`."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._reader = PostgresDeploymentReader(sessions)

    async def known(self, new: NewDeployment) -> Deployment | None:
        if new.idempotency_key is None:
            return None
        return await self._reader.asked_under(new.initiated_by, new.idempotency_key)

    async def check(self, new: NewDeployment, version: VersionRef) -> None:
        async with self._sessions() as session:
            await _admit(session, new, version)

    async def admit(
        self,
        new: NewDeployment,
        version: VersionRef,
        *,
        deployment_id: str,
        queued_request: Mapping[str, Any] | None = None,
    ) -> Deployment:
        row = Row(
            deployment_id=deployment_id,
            version_id=version.version_id,
            model_id=version.model_id,
            kind=new.kind,
            strategy=new.strategy,
            environment=new.environment,
            strategy_config=new.strategy_config,
            resources=msgspec.to_builtins(new.resources),
            workflow_id=deployment_workflow_id(new.environment, version.model),
            idempotency_key=new.idempotency_key,
            initiated_by=new.initiated_by,
            start_at=new.start_at,
            accept_contract_change=new.accept_contract_change,
            emergency=new.emergency,
        )
        if queued_request is not None:
            row.workflow_id = queue_workflow_id(deployment_id)
            row.queued_request = dict(queued_request)
        try:
            async with self._sessions.begin() as session:
                await _admit(session, new, version)
                session.add(row)
                session.add(_asked(new, version, deployment_id))
        except IntegrityError:
            # Another request with the same key was quicker.
            known = await self.known(new)
            if known is None:
                raise
            return known
        return await self._reader.deployment(deployment_id)

    async def withdraw(self, deployment_id: str) -> None:
        async with self._sessions.begin() as session:
            await session.execute(
                delete(Row).where(
                    Row.deployment_id == deployment_id,
                    Row.status == DeploymentStatus.PENDING,
                    Row.run_id.is_(None),
                )
            )


def _asked(new: NewDeployment, version: VersionRef, deployment_id: str) -> AuditEvent:
    return about_deployment(
        deployment_id,
        actor=new.initiated_by,
        action=AuditActions.REQUEST.of(new.kind),
        reason=None if new.emergency is None else f"emergency: {new.emergency}",
        after={
            "model": version.model,
            "version": version.version,
            "environment": new.environment,
            **({"acceptContractChange": True} if new.accept_contract_change else {}),
            **({"emergency": True} if new.emergency is not None else {}),
        },
    )


async def _admit(session: AsyncSession, new: NewDeployment, version: VersionRef) -> None:
    """Let it in, a rollback always. Raises Conflict, and ValidationFailed for a start that is past."""
    if new.kind is DeploymentKind.ROLLBACK:
        return
    await _check_in_use(session, version)
    now = await clock(session)
    if new.start_at is not None and new.start_at <= now:
        raise ValidationFailed.of("startAt", f"{written(new.start_at)} is past; leave it out to start now")
    freeze = (await freezes_in_force(session, at=new.start_at or now)).get(new.environment)
    if freeze is not None and new.on_conflict is not OnConflict.QUEUE:
        raise Conflict(
            f"{freeze}; it can start after that: give it a startAt (`--start-at`) then, or let it wait in line with "
            "onConflict queue (`--on-conflict queue`). Rollbacks and aborts are possible now"
        )
    if not new.waits:
        await _check_line(session, version, new.environment)


async def _check_in_use(session: AsyncSession, version: VersionRef) -> None:
    """Check that it may be deployed, which stays so until the transaction ends. Raises Conflict."""
    found = await session.execute(
        select(Model.is_archived, ModelVersion.is_deprecated, ModelVersion.deprecation)
        .join(Model, Model.model_id == ModelVersion.model_id)
        .where(ModelVersion.version_id == version.version_id)
        .with_for_update(read=True)
    )
    is_archived, is_deprecated, deprecation = found.one()
    if is_archived:
        raise Conflict(f"{version.model} is archived; `hotswap models restore {version.model}` takes it back into use")
    if is_deprecated:
        raise Conflict(
            f"{version.model} {version.version} is deprecated: {deprecation}; deploy another version, or"
            f" `hotswap models restore {version.model} {version.version}`"
        )


async def _check_line(session: AsyncSession, version: VersionRef, environment: Environment) -> None:
    unfinished = (Row.model_id == version.model_id, Row.environment == environment)
    waiting = await session.scalars(
        select(Row.deployment_id)
        .where(*unfinished, is_queued(), func.coalesce(Row.start_at, func.now()) <= func.now())
        .order_by(Row.ticket)
    )
    line = list(waiting)
    if not line:
        return
    under_way = await session.scalar(
        select(Row.deployment_id).where(*unfinished, Row.status.not_in(ENDED), ~is_queued()).limit(1)
    )
    runs = f"{under_way} under way" if under_way is not None else "none under way"
    raise Conflict(
        f"{version.model} has {runs} in {environment}, and {len(line)} in line for it ({', '.join(line[:3])}"
        f"{', ...' if len(line) > 3 else ''}); {HOW_TO_WAIT}"
    )
