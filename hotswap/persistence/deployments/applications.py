"""The applications that should exist, and the lease on writing them to Ray Serve.

Implements `hotswap.ports.DesiredApplications`. The lease is a row with a token and an end by the database's clock, so
that a holder which was frozen learns, before it writes, that it has lost the lease.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import delete, func, not_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hotswap.domain.application import ApplicationSpec, Desired
from hotswap.domain.errors import Conflict
from hotswap.domain.recording import Recording
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import ENDED, Deployment, DesiredApplication, LeaseRow, Model
from hotswap.persistence.traffic.fencing import check_under_way, lock_plan
from hotswap.persistence.traffic.plans import is_routed
from hotswap.ports import WriterLease

LEASE = "ray-serve-configuration"
LEASE_SECONDS = 15
"""The time that a killed holder costs the next one; a PUT needs 12 seconds of it."""

RETRY_SECONDS = 0.1


class PostgresApplications:
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def add(self, desired: Desired) -> None:
        row = insert(DesiredApplication).values(new_row(desired)).on_conflict_do_nothing()
        async with self._sessions.begin() as session:
            if await session.scalar(row.returning(DesiredApplication.name)) is not None:
                await check_under_way(session, desired.spec.deployment_id)

    async def remove(self, name: str) -> None:
        unrouted = delete(DesiredApplication).where(
            DesiredApplication.name == name, not_(is_routed(DesiredApplication.name))
        )
        async with self._sessions.begin() as session:
            await lock_plan(session)  # no route gets it between the look and the delete
            await session.execute(unrouted)
            if await session.get(DesiredApplication, name) is not None:
                raise Conflict(f"{name} still takes part in a route; its replicas stay")

    async def scale(self, replicas: Mapping[str, int], *, deployment_id: str | None = None) -> None:
        async with self._sessions.begin() as session:
            if deployment_id is not None:
                await check_under_way(session, deployment_id)
            for name in sorted(replicas):  # in one order, so that no two wait for each other
                await session.execute(
                    update(DesiredApplication).where(DesiredApplication.name == name).values(replicas=replicas[name])
                )

    async def one(self, name: str) -> Desired | None:
        async with self._sessions() as session:
            row = await session.get(DesiredApplication, name)
            return None if row is None else to_desired(row)

    async def all(self) -> list[Desired]:
        async with self._sessions() as session:
            rows = await session.scalars(
                select(DesiredApplication)
                .where(DesiredApplication.set_aside_reason.is_(None))
                .order_by(DesiredApplication.name)
            )
            return [to_desired(row) for row in rows]

    async def orphans(self) -> list[ApplicationSpec]:
        deploying = (
            select(Deployment.deployment_id)
            .join(Model, Model.model_id == Deployment.model_id)
            .where(
                Model.name == DesiredApplication.model,
                Deployment.environment == DesiredApplication.environment,
                Deployment.status.not_in(ENDED),
            )
        )
        async with self._sessions() as session:
            rows = await session.scalars(
                select(DesiredApplication.spec)
                .where(~is_routed(DesiredApplication.name), ~deploying.exists())
                .order_by(DesiredApplication.name)
            )
            return [msgspec.convert(row, ApplicationSpec) for row in rows]

    async def set_aside(self, name: str, reason: str) -> None:
        async with self._sessions.begin() as session:
            await session.execute(
                update(DesiredApplication).where(DesiredApplication.name == name).values(set_aside_reason=reason)
            )

    @asynccontextmanager
    async def writer_lease(self, holder: str) -> AsyncIterator[WriterLease]:
        token = uuid.uuid4().hex
        while not await self._take(holder, token):  # noqa: ASYNC110 - another process frees it
            await asyncio.sleep(RETRY_SECONDS)
        try:
            yield _HeldLease(self._sessions, token)
        finally:
            async with self._sessions.begin() as session:
                await session.execute(delete(LeaseRow).where(LeaseRow.name == LEASE, LeaseRow.token == token))

    async def _take(self, holder: str, token: str) -> bool:
        values = {
            "token": token,
            "holder": holder,
            "expires_at": func.now() + text(f"interval '{LEASE_SECONDS} seconds'"),
        }
        statement = (
            insert(LeaseRow)
            .values(name=LEASE, **values)
            .on_conflict_do_update(index_elements=["name"], set_=values, where=LeaseRow.expires_at < func.now())
            .returning(LeaseRow.token)
        )
        async with self._sessions.begin() as session:
            return await session.scalar(statement) == token


def new_row(desired: Desired) -> dict[str, Any]:
    spec = desired.spec
    return {
        "name": spec.name,
        "environment": spec.environment,
        "model": spec.model,
        "version": spec.version,
        "deployment_id": spec.deployment_id,
        "spec": msgspec.to_builtins(spec),
        "replicas": desired.replicas,
        "full_replicas": desired.full,
    }


async def recording_of(session: AsyncSession, application: str) -> Recording:
    """Return what the application's records keep of the features; all of them, if it is not there any more."""
    row = await session.get(DesiredApplication, application)
    return to_desired(row).spec.recording if row is not None else Recording()


def to_desired(row: DesiredApplication) -> Desired:
    return Desired(msgspec.convert(row.spec, ApplicationSpec), row.replicas, row.full_replicas)


class _HeldLease:
    def __init__(self, sessions: Sessions, token: str) -> None:
        self._sessions = sessions
        self._token = token

    async def remaining(self) -> float:
        left = func.extract("epoch", LeaseRow.expires_at - func.clock_timestamp())
        async with self._sessions() as session:
            seconds = await session.scalar(select(left).where(LeaseRow.name == LEASE, LeaseRow.token == self._token))
        return max(0.0, float(seconds)) if seconds is not None else 0.0
