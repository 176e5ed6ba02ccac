"""Monitoring of active versions by their outcomes and by their requests. Implements `hotswap.ports.Monitor`.

This module reads the record from PostgreSQL, and asks `hotswap/analysis` what it means.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from hotswap.analysis.degradation import Bucket, degradation, has_recovered
from hotswap.analysis.quality import OutcomeTally
from hotswap.domain.errors import Conflict
from hotswap.domain.monitoring import Active, Alert, AlertKind, Finding
from hotswap.monitoring.drift import DriftMeter
from hotswap.persistence.monitoring.monitor import PostgresMonitorData
from hotswap.persistence.records.rollups import HOUR, MINUTE

MINUTES, HOURS = timedelta(hours=1), timedelta(days=1)
"""The times within which a drop may have begun, by the minute and by the hour."""

PAST = timedelta(days=30)
"""The past that it is compared with: no further back than this."""

LATELY = timedelta(minutes=15)
"""Over this long it must do well again for an alert to be over."""


class ActiveVersionMonitor:
    def __init__(self, data: PostgresMonitorData, drift: DriftMeter, *, clock: Callable[[], float] = time.time) -> None:
        self._data = data
        self._drift = drift
        self._clock = clock

    async def active(self) -> list[Active]:
        return await self._data.active()

    async def degradation(self, active: Active) -> Finding | None:
        now = self._clock()
        first_minute, past = _floor(now - MINUTES.total_seconds(), HOUR), now - PAST.total_seconds()
        history = await self._data.history(active.application, since=past, minutes=first_minute)
        predecessor = None
        if (before := active.application_before) is not None and before != active.application:
            its = await self._data.history(before, since=past, minutes=first_minute)
            predecessor = (f"version {active.version_before}", _sum(its))
        begins = [
            *range(_floor(now - HOURS.total_seconds(), HOUR), first_minute, HOUR),
            *range(first_minute, _floor(now, MINUTE) + 1, MINUTE),
        ]
        found = await asyncio.to_thread(
            degradation, history, begins=begins, predecessor=predecessor, policy=active.policy
        )
        if found is None:
            return None
        return Finding(
            AlertKind.ACCURACY,
            datetime.fromtimestamp(found.since, UTC),
            found.message,
            {
                "recent": found.recent,
                "before": found.before,
                "limit": found.limit,
                "samples": float(found.samples),
                "isError": float(found.is_error),
            },
        )

    async def drift(self, active: Active) -> Finding | bool:
        """Return what has drifted; otherwise return whether there was enough data to tell."""
        try:
            report = await self._drift.report(active.model, active.environment)
        except Conflict:  # it was replaced this moment
            return False
        if not report.is_drifted:
            return report.is_drifted is not None
        numbers = {"samples": float(report.samples)}
        if report.distance is not None:
            numbers["distance"] = report.distance
        return Finding(AlertKind.DRIFT, report.since, report.message, numbers)

    async def has_recovered(self, active: Active, alert: Alert) -> bool:
        """Return whether outcomes are lately what they were before the alert."""
        now = self._clock()
        lately = await self._data.history(active.application, since=now, minutes=now - LATELY.total_seconds())
        return has_recovered(
            _sum(lately),
            limit=alert.numbers["limit"],
            is_error=bool(alert.numbers["isError"]),
            samples=active.policy.samples,
        )


def _sum(history: list[Bucket]) -> OutcomeTally:
    total = OutcomeTally()
    for bucket in history:
        total.merge(bucket.tally)
    return total


def _floor(at: float, width: int) -> int:
    return int(at // width) * width
