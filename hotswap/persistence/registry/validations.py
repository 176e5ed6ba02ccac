"""What validation last said of a version, and its override: implements `hotswap.ports.Validations`."""

from collections.abc import Collection

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import NotFound
from hotswap.domain.validation import LatestValidation, StoredOverride, ValidationReport
from hotswap.persistence.platform.audit import about_version
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.tables import Deployment, ValidationOverride


class PostgresValidations:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def latest(self, version_id: str) -> LatestValidation:
        async with self._sessions() as session:
            deployment = await session.scalar(
                select(Deployment)
                .where(Deployment.version_id == version_id, Deployment.validation.is_not(None))
                .order_by(Deployment.started_at.desc())
                .limit(1)
            )
            row = await session.get(ValidationOverride, version_id)
        override = plain(StoredOverride, row) if row is not None else None
        if deployment is None or deployment.validation is None:
            return LatestValidation(override=override)
        report = report_of(deployment.validation)
        return LatestValidation(report, deployment.deployment_id, deployment.started_at, override)

    async def override(self, version_id: str, *, checks: Collection[str], reason: str, by: str) -> None:
        async with self._sessions.begin() as session:
            row = await session.get(ValidationOverride, version_id, with_for_update=True)
            before = _told(row)
            given = insert(ValidationOverride).values(
                version_id=version_id, checks=list(checks), reason=reason, created_by=by
            )
            fresh = {name: given.excluded[name] for name in ("checks", "reason", "created_by", "created_at")}
            await session.execute(given.on_conflict_do_update(index_elements=["version_id"], set_=fresh))
            session.add(
                about_version(
                    version_id,
                    actor=by,
                    action=AuditAction.OVERRIDE_VALIDATION,
                    reason=reason,
                    before=before,
                    after={"checks": list(checks)},
                )
            )

    async def withdraw(self, version_id: str, *, reason: str | None, by: str) -> None:
        async with self._sessions.begin() as session:
            row = await session.get(ValidationOverride, version_id, with_for_update=True)
            if row is None:
                raise NotFound("its validation has no override, so there is nothing to withdraw")
            await session.execute(delete(ValidationOverride).where(ValidationOverride.version_id == version_id))
            session.add(
                about_version(
                    version_id,
                    actor=by,
                    action=AuditAction.WITHDRAW_OVERRIDE,
                    reason=reason,
                    before=_told(row),
                    after={"checks": []},
                )
            )


def report_of(stored: dict[str, object]) -> ValidationReport:
    """Read a report as `PostgresRegistry.store_validation` wrote it."""
    return msgspec.convert(stored, ValidationReport)


def _told(override: ValidationOverride | None) -> dict[str, object]:
    if override is None:
        return {"checks": []}
    return {"checks": override.checks, "reason": override.reason, "by": override.created_by}
