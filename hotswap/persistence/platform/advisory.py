"""The register of advisory locks: every one that HotSwap takes in its database is named here, and is taken here alone.

PostgreSQL knows such a lock by a number only, and whoever uses the same number waits for the same lock. So the numbers
differ, and they stay: processes of two releases run side by side during an upgrade, and have to exclude each other.
Each lock is its transaction's and ends with it, however that ends.
"""

from enum import Enum

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession


class AdvisoryLock(Enum):
    MIGRATIONS = 0x0407_5A4B
    """One process changes the schema at a time."""
    PLANNING = 0x0407_CA9A
    """One plan of the cluster's capacity is made at a time."""
    SLOTS = 0x0407_510C
    """One worker gives slots away at a time."""
    ARTIFACTS = "hotswap artifacts"
    """No artifact is removed while a registration refers to it: registrations share it."""
    COLLECTING = "hotswap garbage collection"
    """One process collects garbage at a time."""
    PROXY_COUNTS = "hotswap proxy_counts"
    """One recorder samples the proxies' counts at a time."""


async def take(session: AsyncSession, lock: AdvisoryLock) -> None:
    """Wait for the lock, and hold it until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock(_key(lock))))


async def take_shared(session: AsyncSession, lock: AdvisoryLock) -> None:
    """Wait until nobody has the lock alone, and let nobody have it alone until the transaction ends."""
    await session.execute(select(func.pg_advisory_xact_lock_shared(_key(lock))))


async def try_to_take(session: AsyncSession, lock: AdvisoryLock) -> bool:
    """Hold the lock until the transaction ends, unless another has it; whether it is held."""
    return bool(await session.scalar(select(func.pg_try_advisory_xact_lock(_key(lock)))))


async def take_named(session: AsyncSession, name: str) -> None:
    """Wait for the one lock of this name, and hold it until the transaction ends.

    Names have 64 bits, of which a lock above has 32 at most: that two mean the same number is as good as impossible.
    """
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def _key(lock: AdvisoryLock) -> ColumnElement[int]:
    return func.hashtext(lock.value) if isinstance(lock.value, str) else literal(lock.value)
