"""A deployment's row moves along the domain's table, under its lock, with its audit event in the same transaction.

The end of one is what others wait for, so it notifies them: in the same transaction, so nobody hears of an end that is
rolled back, and nobody is left waiting by one that is not.
"""

from datetime import timedelta

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditActions
from hotswap.domain.errors import DeploymentNotFound
from hotswap.domain.lifecycle import DeploymentStatus, check_transition
from hotswap.persistence.platform.audit import about_deployment
from hotswap.persistence.platform.queue_notifications import notify_queue
from hotswap.persistence.tables import Deployment

STARTING = timedelta(minutes=1)
"""The time for which an accepted deployment, queued or not, is left to the process that accepted it: the API gives it
its workflow within seconds.
"""


async def locked(session: AsyncSession, deployment_id: str) -> Deployment:
    deployment = await session.scalar(
        select(Deployment).where(Deployment.deployment_id == deployment_id).with_for_update()
    )
    if deployment is None:
        raise DeploymentNotFound(f"there is no deployment {deployment_id}")
    return deployment


async def move(
    session: AsyncSession,
    deployment: Deployment,
    status: DeploymentStatus,
    *,
    message: str,
    reason: str | None,
    actor: str,
) -> None:
    before = deployment.status
    if not check_transition(before, status):
        return
    deployment.status, deployment.reason, deployment.message = status, reason, message
    if status.is_terminal:
        deployment.completed_at = func.now()
    if status is DeploymentStatus.ACTIVE:
        deployment.progress_percentage = 100
    if status is DeploymentStatus.ROLLED_BACK:
        deployment.is_rolled_back, deployment.rolled_back_at = True, func.now()
    if status in {DeploymentStatus.ROLLED_BACK, DeploymentStatus.FAILED}:
        deployment.error_message = message
    session.add(
        about_deployment(
            deployment.deployment_id,
            actor=actor,
            action=AuditActions.STATUS.of(status),
            reason=message,
            before={"status": before},
            after={"status": status, "reason": reason},
        )
    )
    if status.is_terminal:
        await notify_queue(session)


def is_queued() -> ColumnElement[bool]:
    """Return the condition for a row that waits for its turn: it has no workflow, and isn't about to be given one."""
    return and_(
        Deployment.queued_request.is_not(None),
        Deployment.run_id.is_(None),
        Deployment.status == DeploymentStatus.PENDING,
    )
