"""The proxies as PostgreSQL has them: those whose agents reported through the API while Redis was away.

A report renews a lease, as one over Redis does (`hotswap/traffic/bus.py`), here by PostgreSQL's clock.
"""

import msgspec
from sqlalchemy import delete, extract, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from hotswap.domain.auditing import AuditAction
from hotswap.domain.proxies import LEASE_SECONDS, RegisteredProxy, name_taken
from hotswap.domain.traffic import ProxyReport
from hotswap.persistence.platform.audit import about_proxy
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.tables import ProxyReportRow

_SILENT_FOR = extract("epoch", func.now() - ProxyReportRow.at)
_HOLDER = func.coalesce(ProxyReportRow.report["incarnation"].astext, "")


async def proxies(sessions: Sessions) -> list[RegisteredProxy]:
    """Return each proxy that has a row, with its newest report."""
    async with sessions() as session:
        rows = await session.execute(select(ProxyReportRow.report, func.greatest(0, _SILENT_FOR)))
        return [RegisteredProxy(msgspec.convert(report, ProxyReport), float(silent_for)) for report, silent_for in rows]


class PostgresProxies:
    """The registry of proxies, as the API uses it."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def all(self) -> list[RegisteredProxy]:
        return await proxies(self._sessions)

    async def report(self, report: ProxyReport) -> None:
        """Store a report. Raises ProxyNameTaken while another incarnation holds the name."""
        values = {"report": msgspec.to_builtins(report), "at": func.now()}
        is_free = or_(_HOLDER.in_(("", report.incarnation)), _SILENT_FOR > LEASE_SECONDS, _SILENT_FOR < 0)
        statement = (
            insert(ProxyReportRow)
            .values(proxy=report.proxy, **values)
            .on_conflict_do_update(index_elements=["proxy"], set_=values, where=is_free)
            .returning(ProxyReportRow.proxy)
        )
        async with self._sessions.begin() as session:
            if await session.scalar(statement) is not None:
                return
            held = select(LEASE_SECONDS - _SILENT_FOR).where(ProxyReportRow.proxy == report.proxy)
            left = await session.scalar(held)
        raise name_taken(report.proxy, left=max(0.0, float(left or 0.0)))

    async def forget(self, proxy: str, *, incarnation: str) -> None:
        """Remove a proxy that has shut down, if this incarnation holds the name."""
        holds = _HOLDER.in_(("", incarnation))
        async with self._sessions.begin() as session:
            await session.execute(delete(ProxyReportRow).where(ProxyReportRow.proxy == proxy, holds))

    async def remove(self, proxy: RegisteredProxy, *, by: str, reason: str | None) -> None:
        """Remove a proxy for a person, and record that in the audit log, whether it has a row here or not."""
        report = proxy.report
        before = {
            "isRegistered": True,
            "silentSeconds": round(proxy.silent_for, 1),
            "generation": report.generation,
            "lineage": report.lineage,
            "environments": sorted(report.environments),
        }
        async with self._sessions.begin() as session:
            await session.execute(delete(ProxyReportRow).where(ProxyReportRow.proxy == proxy.name))
            session.add(
                about_proxy(
                    proxy.name,
                    actor=by,
                    action=AuditAction.REMOVE_PROXY,
                    reason=reason,
                    before=before,
                    after={"isRegistered": False},
                )
            )
