"""Deployments as rows: implements `hotswap.ports.Deployments`.

A status moves only along the domain's table, under the row's lock, with its audit event in the same transaction; doing
it again does nothing. Promotion moves registry and route together, or neither.
"""

from typing import Any

import msgspec
import psycopg
from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.application import ReplicaResources, application_name
from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import Conflict, Forbidden
from hotswap.domain.ids import deployment_workflow_id
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.registry import DeploymentBrief, Unfinished
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, Fence, TrafficChange, TrafficPlan
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment, VersionStatus
from hotswap.persistence.deployments.active_versions import (
    activate,
    active_version,
    arm_of,
    deactivate,
    mark_replaced,
    point_to,
    predecessor_of,
    set_version_status,
)
from hotswap.persistence.deployments.transitions import STARTING, is_queued, locked, move
from hotswap.persistence.platform.audit import about_deployment
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.versions import version_ref
from hotswap.persistence.tables import (
    ENDED,
    ActiveVersion,
    Approval,
    AuditEvent,
    Deployment,
    DesiredApplication,
    Model,
    ModelVersion,
    TrafficRoute,
)
from hotswap.persistence.traffic.fencing import (
    check_bound,
    check_newest,
    check_under_way,
    ensure_epoch,
    lock_plan,
    newest_epoch,
    run_before,
)
from hotswap.persistence.traffic.plans import apply_change, to_arm
from hotswap.telemetry.logs import trace_id

_OUT_OF_USE = (VersionStatus.DEPRECATED, VersionStatus.ARCHIVED)


class PostgresDeployments:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def open(self, deployment_id: str, *, run_id: str) -> DeploymentBrief:
        async with self._sessions.begin() as session:
            await lock_plan(session)
            deployment = await locked(session, deployment_id)
            model = await session.get_one(Model, deployment.model_id)
            version = await session.get_one(ModelVersion, deployment.version_id)
            environment = deployment.environment
            status = deployment.status
            route = await session.get(TrafficRoute, (environment, model.name))
            candidate = to_arm(route.candidate) if route is not None else None
            is_split = route is not None and (candidate is not None or route.shed > 0)
            is_weighted = route is not None and (route.candidate_weight > 0 or route.shed > 0)
            active = await active_version(session, deployment)
            is_promoted = active is not None and active.deployment_id == deployment_id
            before, stable = active, to_arm(route.stable) if route is not None else None
            if active is not None and is_promoted:
                before = await predecessor_of(session, active)
                stable = await arm_of(session, before)
            follows: str | None = None
            if not status.is_terminal:
                await _close_lost(session, deployment, active=active, is_weighted=is_weighted)
                epoch = await ensure_epoch(session, environment, model.name, run_id=run_id)
                follows = await run_before(session, environment, model.name, epoch=epoch)
                deployment.run_id = run_id
                deployment.workflow_id = deployment_workflow_id(environment, model.name)
                deployment.application = application_name(environment, model.name, deployment_id)
                deployment.previous_version_id = before.version_id if before is not None else None
            return DeploymentBrief(
                deployment_id=deployment_id,
                kind=deployment.kind,
                environment=environment,
                candidate=version_ref(model, version),
                resources=msgspec.convert(deployment.resources, ReplicaResources),
                stable=stable,
                warm=await _warm_arm(session, environment, model.name, version.version),
                initiated_by=deployment.initiated_by,
                status=status,
                is_split=is_split,
                is_weighted=is_weighted,
                was_verified=deployment.verified_at is not None,
                is_promoted=is_promoted,
                left_behind=candidate.application if candidate is not None else None,
                follows=follows,
            )

    async def unfinished(self) -> list[Unfinished]:
        wanted = (
            select(Deployment, Model.name.label("model"), ModelVersion.version.label("version"))
            .join(Model, Model.model_id == Deployment.model_id)
            .join(ModelVersion, ModelVersion.version_id == Deployment.version_id)
            .where(Deployment.status.not_in(ENDED), Deployment.started_at < func.now() - STARTING, ~is_queued())
            # What has run comes first: only one a model and environment can be taken up at a time.
            .order_by(Deployment.run_id.is_(None), Deployment.started_at)
        )
        async with self._sessions() as session:
            rows = await session.execute(wanted)
            return [
                Unfinished(
                    deployment_id=row[0].deployment_id,
                    kind=row[0].kind,
                    environment=row[0].environment,
                    model=row.model,
                    version=row.version,
                    initiated_by=row[0].initiated_by,
                )
                for row in rows
            ]

    async def transition(
        self,
        deployment_id: str,
        status: DeploymentStatus,
        *,
        message: str,
        reason: str | None,
        actor: str,
        run_id: str | None = None,
    ) -> None:
        try:
            async with self._sessions.begin() as session:
                await lock_plan(session)
                deployment = await locked(session, deployment_id)
                if run_id is not None and deployment.status != status:
                    await _fence(session, deployment, run_id=run_id)
                await move(session, deployment, status, message=message, reason=reason, actor=actor)
        except IntegrityError as error:
            if not _is_violation(error, "uq_deployments_under_way"):
                raise
            raise Conflict(
                f"{deployment_id} can't become {status}: another deployment of its model is under way in its "
                "environment; wait for that one's end or abort it, then deploy again"
            ) from error

    async def record_weight(
        self,
        deployment_id: str,
        *,
        verified_weight: int,
        progress: int | None,
        message: str,
        run_id: str | None = None,
        sequence: int | None = None,
    ) -> None:
        async with self._sessions.begin() as session:
            await lock_plan(session)
            deployment = await locked(session, deployment_id)
            if deployment.status.is_terminal:
                return
            if run_id is not None:
                await _fence(session, deployment, run_id=run_id, sequence=sequence)
            active = await active_version(session, deployment)
            serving = active.deployment_id if active is not None else None
            others = await session.scalars(
                select(Deployment)
                .where(
                    Deployment.model_id == deployment.model_id,
                    Deployment.environment == deployment.environment,
                    Deployment.deployment_id != deployment_id,
                    or_(Deployment.verified_weight > 0, Deployment.deployment_id == serving),
                )
                .with_for_update()
            )
            for other in others:
                _verified(
                    session, other, TOTAL_WEIGHT - verified_weight if other.deployment_id == serving else 0, message
                )
            _verified(session, deployment, verified_weight, message)
            deployment.message = message
            if progress is not None:
                deployment.progress_percentage = progress

    async def record_decision(
        self,
        deployment_id: str,
        *,
        decision_id: str,
        kind: str,
        actor: str,
        message: str,
        before: dict[str, Any] | None = None,
        after: dict[str, Any] | None = None,
    ) -> None:
        event = insert(AuditEvent).values(
            actor=actor,
            action=kind,
            target_type="deployment",
            target_id=deployment_id,
            why=message,
            before=before,
            after=after,
            event_key=f"{deployment_id}/{decision_id}",
            trace_id=trace_id.get(),
        )
        async with self._sessions.begin() as session:
            await check_under_way(session, deployment_id)
            await session.execute(event.on_conflict_do_nothing())

    async def check_proof(self, deployment_id: str, *, step: int, by: str, proof: str | None) -> None:
        said = select(AuditEvent.id).where(
            AuditEvent.event_key == proof, AuditEvent.target_id == deployment_id, AuditEvent.actor == by
        )
        used = select(Approval.step).where(Approval.proof == proof, Approval.step != step)
        async with self._sessions() as session:
            if proof is None or await session.scalar(said) is None:
                raise Forbidden(f"nothing proves that {by} approved {deployment_id}: the API has no record of it")
            if await session.scalar(used) is not None:
                raise Forbidden(f"this approval by {by} was already used for another step of {deployment_id}")

    async def approve(
        self,
        deployment_id: str,
        *,
        step: int,
        by: str,
        claimed: bool,
        reason: str | None = None,
        proof: str | None = None,
    ) -> None:
        async with self._sessions.begin() as session:
            deployment = await locked(session, deployment_id)
            await check_under_way(session, deployment_id)
            version = await session.get_one(ModelVersion, deployment.version_id, with_for_update=True)
            if version.status in _OUT_OF_USE:
                raise Conflict(f"version {version.version} is {version.status} and can't be approved; deploy another")
            given = insert(Approval).values(
                deployment_id=deployment_id, step=step, approved_by=by, is_claimed=claimed, proof=proof
            )
            added = await session.scalar(given.on_conflict_do_nothing().returning(Approval.step))
            if added is None:
                return
            before = {"approvedBy": version.approved_by}
            version.approved_by, version.approved_at = by, func.now()
            if version.status != VersionStatus.DEPLOYED:
                set_version_status(
                    session, version, VersionStatus.APPROVED, actor=by, reason=f"approved for {deployment_id}"
                )
            session.add(
                about_deployment(
                    deployment_id,
                    actor=by,
                    action=AuditAction.APPROVE,
                    reason=reason,
                    before=before,
                    after={"approvedBy": by, "step": step, "isClaimed": claimed},
                )
            )

    async def make_active(self, deployment_id: str, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        assert change.stable is not None
        async with self._sessions.begin() as session:
            plan = await apply_change(session, change, run_id=run_id)
            deployment = await locked(session, deployment_id)
            before = await active_version(session, deployment)
            if before is not None and before.deployment_id == deployment_id:
                return plan
            await activate(
                session,
                deployment,
                application=change.stable.application,
                before=before,
                actor=deployment.initiated_by,
                reason="promoted",
            )
            if before is not None:
                await mark_replaced(session, await locked(session, before.deployment_id), by=deployment)
            return plan

    async def make_inactive(self, deployment_id: str, change: TrafficChange, *, run_id: str) -> TrafficPlan:
        async with self._sessions.begin() as session:
            plan = await apply_change(session, change, run_id=run_id)
            deployment = await locked(session, deployment_id)
            active = await active_version(session, deployment)
            if active is None or active.deployment_id != deployment_id:
                return plan
            before, reason = await predecessor_of(session, active), f"{deployment_id} is taken back"
            if before is None:
                await deactivate(session, active, actor="hotswap", reason=reason)
                await point_to(session, deployment, None)
                return plan
            again = await locked(session, before.deployment_id)
            await activate(
                session, again, application=before.application, before=active, actor="hotswap", reason=reason
            )
            again.reason, again.message = Reason.COMPLETED, f"serves again, since {reason}"
            again.is_rolled_back, again.rolled_back_at = False, None
            return plan


async def _fence(session: AsyncSession, deployment: Deployment, *, run_id: str, sequence: int | None = None) -> None:
    """Raise StaleFence or DeploymentMoved unless this run may write; with `sequence`, its change is the route's newest.

    The plan must be locked.
    """
    environment, model = deployment.environment, (await session.get_one(Model, deployment.model_id)).name
    epoch = await newest_epoch(session, environment, model, run_id=run_id)
    await check_bound(session, deployment.deployment_id, run_id=run_id)
    if sequence is not None:
        await check_newest(session, environment, model, Fence(epoch, sequence))


def _verified(session: AsyncSession, deployment: Deployment, weight: int, message: str) -> None:
    before = deployment.verified_weight
    deployment.verified_weight = weight
    deployment.traffic_percentage = round(weight / 100)
    # No weight before the first one is none: testers alone were let in, or nobody was and it is taken back.
    if weight or deployment.verified_at is not None:
        deployment.verified_at = func.now()
    if before != weight:
        session.add(
            about_deployment(
                deployment.deployment_id,
                actor="hotswap",
                action=AuditAction.WEIGHT_VERIFIED,
                reason=message,
                before={"weight": before},
                after={"weight": weight},
            )
        )


async def _close_lost(
    session: AsyncSession, deployment: Deployment, *, active: ActiveVersion | None, is_weighted: bool
) -> None:
    """End what was under way here before: Temporal holds the lock for another run now, so theirs are gone."""
    lost = await session.scalars(
        select(Deployment)
        .where(
            Deployment.model_id == deployment.model_id,
            Deployment.environment == deployment.environment,
            Deployment.deployment_id != deployment.deployment_id,
            Deployment.status.not_in(ENDED),
            Deployment.run_id.is_not(None),
        )
        .with_for_update()
    )
    for row in lost:
        message = f"its workflow was lost (terminated?); found by {deployment.deployment_id}, which came after it"
        told = {"message": message, "reason": Reason.WORKFLOW_LOST, "actor": "hotswap"}
        is_active = active is not None and active.deployment_id == row.deployment_id
        if is_active and row.status == DeploymentStatus.PROMOTING:
            await move(session, row, DeploymentStatus.ACTIVE, **told)
            continue
        had_traffic = is_weighted or row.verified_at is not None
        await move(session, row, DeploymentStatus.ROLLING_BACK, **told)
        end = DeploymentStatus.ROLLED_BACK if had_traffic and not is_active else DeploymentStatus.FAILED
        await move(session, row, end, **told)
    await session.flush()


def _is_violation(error: IntegrityError, constraint: str) -> bool:
    return isinstance(error.orig, psycopg.IntegrityError) and error.orig.diag.constraint_name == constraint


async def _warm_arm(session: AsyncSession, environment: Environment, model: str, version: str) -> Arm | None:
    row = await session.scalar(
        select(DesiredApplication)
        .where(
            DesiredApplication.environment == environment,
            DesiredApplication.model == model,
            DesiredApplication.version == version,
            DesiredApplication.set_aside_reason.is_(None),
        )
        .order_by(DesiredApplication.created_at.desc())
        .limit(1)
    )
    return None if row is None else Arm(row.name, row.version, row.deployment_id)
