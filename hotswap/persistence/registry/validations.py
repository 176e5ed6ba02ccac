"""Validation reports of versions, and the failed checks that an Admin lets pass.

Only a check that has failed can be let pass, so nobody allows what nobody has seen. It holds for
this version, whose artifact never changes, until it is taken back.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import Conflict, NotFound, ValidationFailed
from hotswap.domain.validation import OVERRIDABLE, CheckOutcome, ValidationReport
from hotswap.persistence.platform.audit import about_version
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.platform.plain import plain
from hotswap.persistence.tables import Deployment, ValidationOverride


@dataclass(frozen=True, slots=True)
class StoredOverride:
    """A check of a version that an Admin lets pass, and since when."""

    checks: list[str]
    reason: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Validated:
    """A version's newest report, of which deployment it is, and what is let pass from the next one on."""

    report: ValidationReport | None
    deployment_id: str | None
    at: datetime | None
    override: StoredOverride | None


class PostgresValidations:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def newest(self, version_id: str) -> Validated:
        async with self._sessions() as session:
            return await _newest(session, version_id)

    async def override(self, version_id: str, *, checks: Collection[str], reason: str, by: str) -> None:
        """Let these checks pass from the next deployment on; without any, all that failed and may be let pass.

        Raises Conflict where nothing of that kind has failed, ValidationFailed for checks that can't be let pass.
        """
        async with self._sessions.begin() as session:
            seen = await _newest(session, version_id)
            failed = _failed(seen.report)
            if not failed:
                raise Conflict("its newest validation has no failed check, so there is nothing to override")
            if wrong := [name for name in checks if name not in OVERRIDABLE]:
                raise ValidationFailed.of(
                    "checks", f"{', '.join(wrong)} can't be overridden; only {', '.join(sorted(OVERRIDABLE))} can"
                )
            if wrong := [name for name in checks if name not in failed]:
                raise Conflict(f"{', '.join(wrong)} has not failed in its newest validation, of {seen.deployment_id}")
            let_pass = [name for name in failed if name in (checks or OVERRIDABLE)]
            if not let_pass:
                raise Conflict(
                    f"these failed checks can't be overridden: {', '.join(failed)}; only "
                    f"{', '.join(sorted(OVERRIDABLE))} can. Register a corrected version"
                )
            before = _told(seen.override)
            given = insert(ValidationOverride).values(
                version_id=version_id, checks=let_pass, reason=reason, created_by=by
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
                    after={"checks": let_pass},
                )
            )

    async def withdraw(self, version_id: str, *, reason: str | None, by: str) -> None:
        """Let nothing pass any more. Raises NotFound."""
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
                    before=_told(plain(StoredOverride, row)),
                    after={"checks": []},
                )
            )


def report_of(stored: dict[str, object]) -> ValidationReport:
    """Read a report as `PostgresRegistry.store_validation` wrote it."""
    return msgspec.convert(stored, ValidationReport)


def _failed(report: ValidationReport | None) -> list[str]:
    return [check.name for check in report.checks if check.outcome is CheckOutcome.FAILED] if report else []


def _told(override: StoredOverride | None) -> dict[str, object]:
    if override is None:
        return {"checks": []}
    return {"checks": override.checks, "reason": override.reason, "by": override.created_by}


async def _newest(session: AsyncSession, version_id: str) -> Validated:
    deployment = await session.scalar(
        select(Deployment)
        .where(Deployment.version_id == version_id, Deployment.validation.is_not(None))
        .order_by(Deployment.started_at.desc())
        .limit(1)
    )
    row = await session.get(ValidationOverride, version_id)
    override = plain(StoredOverride, row) if row is not None else None
    if deployment is None or deployment.validation is None:
        return Validated(None, None, None, override)
    return Validated(report_of(deployment.validation), deployment.deployment_id, deployment.started_at, override)
