"""Whether a deployment that is asked for may come in now: what is out of use, frozen environments, who waits already.

Asked in the transaction that inserts the row, so what is refused leaves nothing behind. That another of its model runs
is not asked here: Temporal's workflow id is the lock for that, also where a row tells of a run that was lost.
"""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.errors import Conflict, ValidationFailed
from hotswap.domain.queueing import in_force
from hotswap.domain.registry import VersionRef
from hotswap.domain.times import written
from hotswap.domain.vocabulary import DeploymentKind, Environment, OnConflict
from hotswap.persistence.deployments.freezes import freezes_of
from hotswap.persistence.deployments.transitions import is_queued
from hotswap.persistence.tables import ENDED, Deployment, Model, ModelVersion

HOW_TO_WAIT = "`--on-conflict queue` (onConflict) waits in line, `--on-conflict supersede` ends what is before it"


async def admit(
    session: AsyncSession,
    wanted: VersionRef,
    *,
    kind: DeploymentKind,
    environment: Environment,
    on_conflict: OnConflict | None,
    start_at: datetime | None,
) -> None:
    """Raises Conflict, and ValidationFailed for a start that is past. A rollback is always let in."""
    if kind is DeploymentKind.ROLLBACK:
        return
    await _check_in_use(session, wanted)
    now = await session.scalar(select(func.clock_timestamp()))
    assert now is not None
    if start_at is not None and start_at <= now:
        raise ValidationFailed.of("startAt", f"{written(start_at)} is past; leave it out to start now")
    freeze = in_force(await freezes_of(session, [environment]), at=start_at or now).get(environment)
    if freeze is not None and on_conflict is not OnConflict.QUEUE:
        raise Conflict(
            f"{freeze}; it can start after that: give it a startAt (`--start-at`) then, or let it wait in line with "
            "onConflict queue (`--on-conflict queue`). Rollbacks and aborts are possible now"
        )
    if start_at is None and on_conflict in {None, OnConflict.REJECT}:
        await _check_line(session, wanted, environment)


async def _check_in_use(session: AsyncSession, wanted: VersionRef) -> None:
    """Raises Conflict for what must not be deployed any more; until the transaction ends that stays as it is."""
    found = await session.execute(
        select(Model.is_archived, ModelVersion.is_deprecated, ModelVersion.deprecation)
        .join(Model, Model.model_id == ModelVersion.model_id)
        .where(ModelVersion.version_id == wanted.version_id)
        .with_for_update(read=True)
    )
    is_archived, is_deprecated, why = found.one()
    if is_archived:
        raise Conflict(f"{wanted.model} is archived; `hotswap models restore {wanted.model}` takes it back into use")
    if is_deprecated:
        raise Conflict(
            f"{wanted.model} {wanted.version} is deprecated: {why}; deploy another version, or"
            f" `hotswap models restore {wanted.model} {wanted.version}`"
        )


async def _check_line(session: AsyncSession, wanted: VersionRef, environment: Environment) -> None:
    unfinished = (Deployment.model_id == wanted.model_id, Deployment.environment == environment)
    waiting = await session.scalars(
        select(Deployment.deployment_id)
        .where(*unfinished, is_queued(), func.coalesce(Deployment.start_at, func.now()) <= func.now())
        .order_by(Deployment.ticket)
    )
    line = list(waiting)
    if not line:
        return
    under_way = await session.scalar(
        select(Deployment.deployment_id).where(*unfinished, Deployment.status.not_in(ENDED), ~is_queued()).limit(1)
    )
    runs = f"{under_way} under way" if under_way is not None else "none under way"
    raise Conflict(
        f"{wanted.model} has {runs} in {environment}, and {len(line)} in line for it ({', '.join(line[:3])}"
        f"{', ...' if len(line) > 3 else ''}); {HOW_TO_WAIT}"
    )
