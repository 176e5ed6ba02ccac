"""Service tokens as rows: made, exchanged, given a new secret, revoked; each of it audited, and no secret kept.

What is wrong with a token that is shown (unknown, revoked, expired, another's secret) is told by one message, so that
nobody learns from it which tokens there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, CompoundSelect, and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.access import PROGRAM, Grant, is_program
from hotswap.domain.auditing import AuditAction
from hotswap.domain.errors import Conflict, NotFound, Unauthorized
from hotswap.persistence.platform.audit import about_token
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import AuditEvent, ServiceTokenRow
from hotswap.security.service_tokens import Presented, digest, mint, new_id

NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class StoredServiceToken:
    token_id: str
    name: str
    grants: frozenset[Grant]
    created_by: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_by: str | None
    revoked_at: datetime | None

    @property
    def subject(self) -> str:
        """The token's name in the audit log, and wherever else a caller has a name."""
        return f"{PROGRAM}{self.name}"


@dataclass(frozen=True, slots=True, repr=False)
class Issued:
    """`secret` is to be shown once."""

    token: StoredServiceToken
    secret: str


SHOW_A_SECRET = (AuditAction.CREATE_TOKEN, AuditAction.ROTATE_TOKEN)

May = Callable[[StoredServiceToken], None]
"""Raises Forbidden where the caller may not touch this one."""


class PostgresServiceTokens:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add(
        self, name: str, grants: frozenset[Grant], *, expires_in: timedelta, reason: str | None, by: str
    ) -> Issued:
        """Add a token. Raises Conflict where another one in use has this name."""
        token_id = new_id()
        secret = mint(token_id)
        row = ServiceTokenRow(
            token_id=token_id,
            name=name,
            grants=sorted(map(str, grants)),
            secret_hash=digest(secret),
            created_by=by,
            expires_at=func.now() + expires_in,
        )
        try:
            async with self._sessions.begin() as session:
                session.add(row)
                await session.flush()
                await session.refresh(row)
                made = _token(row)
                session.add(
                    about_token(token_id, actor=by, action=AuditAction.CREATE_TOKEN, reason=reason, after=_told(made))
                )
        except IntegrityError:
            raise Conflict(
                f"there is a token {name} already; revoke it, or give it a new secret by rotating it"
            ) from None
        return Issued(made, secret)

    async def all(self, *, with_ended: bool) -> list[StoredServiceToken]:
        """Return the tokens, newest first; revoked or expired ones only `with_ended`."""
        wanted = select(ServiceTokenRow).order_by(ServiceTokenRow.created_at.desc(), ServiceTokenRow.token_id.desc())
        if not with_ended:
            wanted = wanted.where(ServiceTokenRow.revoked_at.is_(None), ServiceTokenRow.expires_at > func.now())
        async with self._sessions() as session:
            return [_token(row) for row in await session.scalars(wanted)]

    async def rotate(self, token: str, *, overlap: timedelta, reason: str | None, by: str, may: May) -> Issued:
        """Give it another secret; the present one is valid for `overlap` more. Raises NotFound and Conflict."""
        async with self._sessions.begin() as session:
            row = await _locked(session, token, may)
            now = await _now(session)
            if row.revoked_at is not None or row.expires_at <= now:
                raise Conflict(f"{row.name} is revoked or expired, and takes no new secret; create another")
            secret = mint(row.token_id)
            before = {"previousUntil": row.previous_until.isoformat() if row.previous_until is not None else None}
            row.previous_hash, row.previous_until = row.secret_hash, now + overlap
            row.secret_hash = digest(secret)
            after = {"previousUntil": row.previous_until.isoformat()}
            session.add(
                about_token(
                    row.token_id, actor=by, action=AuditAction.ROTATE_TOKEN, reason=reason, before=before, after=after
                )
            )
            return Issued(_token(row), secret)

    async def shown_to(self, subject: str) -> frozenset[str]:
        """Return who was ever shown a secret of this program; for programs among them, also who was shown theirs."""
        found: set[str] = set()
        programs = {subject}
        async with self._sessions() as session:
            while names := [each.removeprefix(PROGRAM) for each in programs]:
                shown = await session.scalars(_makers(names))
                new = set(shown) - found
                found |= new
                programs = set(filter(is_program, new))
        return frozenset(found)

    async def revoke(self, token: str, *, reason: str | None, by: str, may: May) -> StoredServiceToken:
        """Revoke a token: from now on nobody can exchange it. Doing it again changes nothing. Raises NotFound."""
        async with self._sessions.begin() as session:
            row = await _locked(session, token, may)
            if row.revoked_at is None:
                before = _told(_token(row))
                row.revoked_by, row.revoked_at = by, await _now(session)
                session.add(
                    about_token(
                        row.token_id,
                        actor=by,
                        action=AuditAction.REVOKE_TOKEN,
                        reason=reason,
                        before=before,
                        after={"revokedAt": row.revoked_at.isoformat()},
                    )
                )
            return _token(row)

    async def of(self, shown: Presented) -> StoredServiceToken:
        """Return the token of a secret that is valid now. Raises Unauthorized.

        Nothing is locked, since programs may ask at the same time.
        """
        async with self._sessions() as session:
            row = await session.get(ServiceTokenRow, shown.token_id)
            if row is None or not _counts(row, shown, await _now(session)):
                raise Unauthorized("the service token is not valid: unknown, revoked, expired, or rotated away")
            return _token(row)

    async def note_use(self, token: StoredServiceToken) -> None:
        """Record that it is exchanged, at most once a minute: the audit log keeps every entry."""
        is_due = or_(ServiceTokenRow.last_used_at.is_(None), ServiceTokenRow.last_used_at < func.now() - NOTED_EVERY)
        noting = update(ServiceTokenRow).where(ServiceTokenRow.token_id == token.token_id, is_due)
        async with self._sessions.begin() as session:
            noted = await session.scalar(noting.values(last_used_at=func.now()).returning(ServiceTokenRow.token_id))
            if noted is not None:
                session.add(about_token(noted, actor=token.subject, action=AuditAction.EXCHANGE_TOKEN))


def _makers(names: Sequence[str]) -> CompoundSelect[str]:
    """Return who made tokens of these names or gave them new secrets, by the rows and by the audit log."""
    named = ServiceTokenRow.name.in_(names)
    made = select(ServiceTokenRow.created_by).where(named)
    told = select(AuditEvent.actor).join(ServiceTokenRow, ServiceTokenRow.token_id == AuditEvent.target_id)
    return made.union(told.where(named, AuditEvent.action.in_(SHOW_A_SECRET)))


def _counts(row: ServiceTokenRow, shown: Presented, now: datetime) -> bool:
    is_previous_good = row.previous_until is not None and row.previous_until > now
    is_right = shown.is_any_of(row.secret_hash, row.previous_hash if is_previous_good else None)
    return is_right and row.revoked_at is None and row.expires_at > now


async def _now(session: AsyncSession) -> datetime:
    now: datetime | None = await session.scalar(select(func.now()))
    assert now is not None
    return now


async def _locked(session: AsyncSession, token: str, may: May) -> ServiceTokenRow:
    """Lock a token by its id, or by its name while it is in use."""
    row: ServiceTokenRow | None = await session.scalar(select(ServiceTokenRow).where(_named(token)).with_for_update())
    if row is None:
        raise NotFound(f"there is no token {token}; `hotswap tokens list` shows those there are")
    may(_token(row))
    return row


def _named(token: str) -> ColumnElement[bool]:
    in_use = and_(ServiceTokenRow.name == token, ServiceTokenRow.revoked_at.is_(None))
    return or_(ServiceTokenRow.token_id == token, in_use)


def _token(row: ServiceTokenRow) -> StoredServiceToken:
    return StoredServiceToken(
        token_id=row.token_id,
        name=row.name,
        grants=frozenset(map(Grant.parse, row.grants)),
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_by=row.revoked_by,
        revoked_at=row.revoked_at,
    )


def _told(token: StoredServiceToken) -> dict[str, object]:
    return {
        "name": token.name,
        "roles": sorted(map(str, token.grants)),
        "expiresAt": token.expires_at.isoformat(),
    }
