"""Idempotency keys: which request each caller's key stands for, and what was answered, for 24 hours.

A key is claimed before its request is acted on, so that only one of several at once is. A claim that brings no answer,
since the process died, runs out, and the same request may claim the key again. It keeps its number then, by which what
the first attempt began is recognized.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from hotswap.domain.errors import KeyInUse, KeyReused
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import IdempotencyKey, Now

KEPT = timedelta(hours=24)
CLAIMED = timedelta(seconds=30)
"""Longer than any request takes; for so long a process that died keeps its key from others."""


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """The right to act on a request. `name` is the same each time that the same request claims its key."""

    name: str
    number: int
    at: datetime


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The first answer under a key."""

    status: int
    headers: dict[str, str]
    body: str


class PostgresIdempotencyKeys:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def claim(self, caller: str, key: str, fingerprint: str) -> KeyClaim | StoredAnswer:
        """Claim a key.

        Raises KeyReused when the key stands for another request, and KeyInUse while the first one is being handled.
        """
        row = IdempotencyKey
        of_caller = (row.caller == caller, row.key == key)
        ours = insert(row).values(caller=caller, key=key, fingerprint=fingerprint)
        ours = ours.on_conflict_do_update(
            index_elements=["caller", "key"],
            set_={"claimed_at": Now},
            where=(row.status.is_(None))
            & (row.claimed_at < Now - CLAIMED)
            & (row.fingerprint == ours.excluded.fingerprint),
        )
        async with self._sessions.begin() as session:
            await session.execute(delete(row).where(*of_caller, row.created_at < Now - KEPT))
            claimed = (await session.execute(ours.returning(row.number, row.claimed_at))).first()
            if claimed is not None:
                return KeyClaim(f"{key}#{claimed.number}", claimed.number, claimed.claimed_at)
            known = await session.scalar(select(row).where(*of_caller))
        if known is None:
            raise KeyInUse(f"a request with Idempotency-Key {key} has just been refused; send it again")
        if known.fingerprint != fingerprint:
            raise KeyReused(
                f"Idempotency-Key {key} was used for another request at {known.created_at:%FT%TZ}; use a new key"
            )
        if known.status is None or known.headers is None or known.body is None:
            raise KeyInUse(f"the first request with Idempotency-Key {key} is still under way; try again in a moment")
        return StoredAnswer(known.status, known.headers, known.body)

    async def keep(self, claim: KeyClaim, answer: StoredAnswer) -> None:
        """Answer the same from now on; without effect when somebody else has claimed the key meanwhile."""
        async with self._sessions.begin() as session:
            await session.execute(
                update(IdempotencyKey)
                .where(IdempotencyKey.number == claim.number, IdempotencyKey.claimed_at == claim.at)
                .values(status=answer.status, headers=answer.headers, body=answer.body)
            )

    async def forget(self, claim: KeyClaim) -> None:
        """Free the key for any request, since nothing was done."""
        async with self._sessions.begin() as session:
            await session.execute(
                delete(IdempotencyKey).where(
                    IdempotencyKey.number == claim.number, IdempotencyKey.claimed_at == claim.at
                )
            )

    async def let_go(self, claim: KeyClaim) -> None:
        """Let the same request claim the key at once, with its number, since it may have failed half-way."""
        async with self._sessions.begin() as session:
            await session.execute(
                update(IdempotencyKey)
                .where(IdempotencyKey.number == claim.number, IdempotencyKey.claimed_at == claim.at)
                .values(claimed_at=func.to_timestamp(0))
            )
