"""Active version of a model in an environment, and its history: `active_versions`.

At most one row of a model and environment is open; the pointer in `models` follows Production. Each of these runs in
the caller's transaction.
"""

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditAction, AuditActions
from hotswap.domain.traffic import Arm
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import DeploymentKind, Environment, VersionStatus
from hotswap.persistence.platform.audit import about_deployment, about_version
from hotswap.persistence.tables import ActiveVersion, Deployment, DesiredApplication, Model, ModelVersion


async def active_version(session: AsyncSession, deployment: Deployment) -> ActiveVersion | None:
    """Return what serves its model in its environment; nothing does before the first promotion."""
    active: ActiveVersion | None = await session.scalar(
        select(ActiveVersion).where(
            ActiveVersion.model_id == deployment.model_id,
            ActiveVersion.environment == deployment.environment,
            ActiveVersion.until.is_(None),
        )
    )
    return active


async def predecessor_of(session: AsyncSession, active: ActiveVersion) -> ActiveVersion | None:
    """Return what served until this one was made active, in the same transaction."""
    row: ActiveVersion | None = await session.scalar(
        select(ActiveVersion).where(
            ActiveVersion.model_id == active.model_id,
            ActiveVersion.environment == active.environment,
            ActiveVersion.until == active.since,
            ActiveVersion.id < active.id,
        )
    )
    return row


async def arm_of(session: AsyncSession, version: ActiveVersion | None) -> Arm | None:
    """Return the version's application as an arm of a route; None if it isn't wanted any more."""
    row = await session.get(DesiredApplication, version.application) if version is not None else None
    return None if row is None else Arm(row.name, row.version, row.deployment_id)


async def activate(
    session: AsyncSession,
    deployment: Deployment,
    *,
    application: str,
    before: ActiveVersion | None,
    actor: str,
    reason: str,
) -> None:
    """Make a deployment's version the active one instead of another; the history keeps both."""
    if before is not None:
        await deactivate(session, before, actor=actor, reason=reason)
    session.add(
        ActiveVersion(
            model_id=deployment.model_id,
            environment=deployment.environment,
            version_id=deployment.version_id,
            deployment_id=deployment.deployment_id,
            application=application,
        )
    )
    version = await session.get_one(ModelVersion, deployment.version_id, with_for_update=True)
    set_version_status(session, version, VersionStatus.DEPLOYED, actor=actor, reason=reason)
    await point_to(session, deployment, version.version)
    session.add(
        about_deployment(
            deployment.deployment_id,
            actor=actor,
            action=AuditAction.MAKE_ACTIVE,
            reason=reason,
            before={"deploymentId": before.deployment_id if before is not None else None},
            after={"deploymentId": deployment.deployment_id, "version": version.version},
        )
    )


async def deactivate(session: AsyncSession, active: ActiveVersion, *, actor: str, reason: str) -> None:
    """Give a version that serves nowhere any more the status that it had before: it can be deployed again."""
    active.until = func.now()
    await session.flush()
    session.add(
        about_deployment(
            active.deployment_id,
            actor=actor,
            action=AuditAction.MAKE_INACTIVE,
            reason=reason,
            before={"isActive": True},
            after={"isActive": False},
        )
    )
    elsewhere = select(ActiveVersion.id).where(
        ActiveVersion.version_id == active.version_id, ActiveVersion.until.is_(None)
    )
    if await session.scalar(elsewhere.limit(1)) is not None:
        return
    version = await session.get_one(ModelVersion, active.version_id, with_for_update=True)
    if version.status == VersionStatus.DEPLOYED:
        status = VersionStatus.VALIDATED if version.approved_at is None else VersionStatus.APPROVED
        status = VersionStatus.DEPRECATED if version.is_deprecated else status
        set_version_status(session, version, status, actor=actor, reason=reason)


async def mark_replaced(session: AsyncSession, deployment: Deployment, *, by: Deployment) -> None:
    """Tell by its reason and message what came of it since; it ended as Active, and its status stays so."""
    version = await session.get_one(ModelVersion, by.version_id)
    if by.kind == DeploymentKind.ROLLBACK:
        deployment.reason = Reason.ROLLBACK_REQUESTED
        deployment.message = f"rolled back to {version.version} by {by.deployment_id}"
        deployment.is_rolled_back, deployment.rolled_back_at = True, func.now()
    else:
        deployment.reason = Reason.REPLACED
        deployment.message = f"replaced by {version.version} ({by.deployment_id})"


def set_version_status(
    session: AsyncSession, version: ModelVersion, status: VersionStatus, *, actor: str, reason: str | None
) -> None:
    """Set a version's status, with its audit event, unless it has that status already. The row must be locked."""
    if version.status == status:
        return
    session.add(
        about_version(
            version.version_id,
            actor=actor,
            action=AuditActions.STATUS.of(status),
            reason=reason,
            before={"status": version.status},
            after={"status": status},
        )
    )
    version.status = status


async def point_to(session: AsyncSession, deployment: Deployment, version: str | None) -> None:
    """Let the model's `active_version` say what serves in Production; other environments have no pointer."""
    if deployment.environment == Environment.PRODUCTION:
        await session.execute(
            update(Model)
            .where(Model.model_id == deployment.model_id)
            .values(active_version=version, updated_at=func.now())
        )
