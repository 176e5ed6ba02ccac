"""Drift from the records: of a candidate while it is judged, and of what is active whenever somebody asks.

PostgreSQL says what was asked, `hotswap/analysis` in a thread how far that is from its measure. Implements
`hotswap.ports.Meter`.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from hotswap.analysis.drift import ALPHA
from hotswap.analysis.drift_of_records import compared
from hotswap.domain.analysis import Metric, Reading, Subject
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.monitoring.drift import DriftRecord, PostgresDriftRecords

WINDOW = timedelta(hours=1)
LEAST = 200
"""The fewest values of a report: fewer make distances by themselves."""

EVIDENCE = 0.01
"""The evidence for a candidate's rollback: chance must explain a distance less often than for a report."""


class DriftMeter:
    def __init__(self, records: PostgresDriftRecords, *, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._clock = clock

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        """Return the distances of candidate and stable from the same reference: both drift if the world does."""
        candidate, stable = [
            await asyncio.to_thread(compared, sampled, least=metric.samples, alpha=EVIDENCE)
            for sampled in await self._records.of_arms(subject)
        ]
        return Reading(
            self._clock(),
            candidate_value=candidate.distance,
            stable_value=stable.distance,
            message=candidate.message,
        )

    async def report(self, model: str, environment: Environment) -> DriftRecord:
        """Look at what is active now, over the last hour, and keep what was found.

        Raises ModelNotFound, Conflict where nothing is active, and ValidationFailed for a reference that can't be read.
        """
        now = datetime.fromtimestamp(self._clock(), UTC)
        since = now - WINDOW
        active = await self._records.of_active(model, environment, since=since)
        found = await asyncio.to_thread(compared, active.sampled, least=LEAST, alpha=ALPHA)
        report = DriftRecord(
            model=active.model,
            version=active.version,
            environment=environment,
            at=now,
            since=since,
            reference=found.reference,
            samples=found.samples,
            distance=found.distance,
            is_drifted=any(each.is_drifted for each in found.features.values()) if found.features else None,
            message=found.message,
            features={
                name: {**asdict(drift), "distance": drift.distance(), "is_drifted": drift.is_drifted}
                for name, drift in found.features.items()
            },
        )
        await self._records.keep(active, report)
        return report

    async def last(self, model: str, environment: Environment) -> DriftRecord | None:
        """Return the last report; None where there is none yet. Raises ModelNotFound."""
        return await self._records.last(model, environment)
