"""What a watch looks at: the proxies' counts, and beside them whatever else its metrics ask for.

All watches of a worker share one reader of the counts. Every other source is read in its own time, so that a slow one
holds up nothing: a look takes the readings that are there.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from hotswap.domain.analysis import FROM_PROXIES, AnalysisPolicy, Entities, Look, Metric, Reading, Source, Subject
from hotswap.domain.baking import LOOK_SECONDS
from hotswap.domain.errors import HotSwapError, Unavailable
from hotswap.domain.traffic import Counts, ProxyReport, total_counts
from hotswap.messages import VerifiedWeight
from hotswap.ports import EntityCensus, Meter, TrafficBus

STALE_SECONDS = 5.0
CENSUS_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Unseen(Exception):
    """There is nothing to judge now; the message says why."""


class SharedReports:
    """One reader of the proxies' reports for all watches of a worker: a thousand of them ask Redis no more than one."""

    def __init__(self, bus: TrafficBus, *, clock: Callable[[], float], max_age: float = LOOK_SECONDS / 2) -> None:
        self._bus = bus
        self._clock = clock
        self._max_age = max_age
        self._lock = asyncio.Lock()
        self._reports: list[ProxyReport] = []
        self._read_at = float("-inf")

    async def latest(self, *, since: float) -> list[ProxyReport]:
        """Read at `since` (Unix time) or later."""
        async with self._lock:
            if self._read_at < since or self._clock() - self._read_at > self._max_age:
                self._reports = await self._bus.reports()
                self._read_at = self._clock()
            return self._reports


class Sources:
    """Where looks come from; one for all watches of a worker."""

    def __init__(
        self,
        bus: TrafficBus,
        meters: Mapping[Source, Meter],
        census: EntityCensus,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self._reports = SharedReports(bus, clock=clock)
        self._meters = meters
        self._census = census

    @asynccontextmanager
    async def of(
        self, subject: Subject, policy: AnalysisPolicy, baseline: VerifiedWeight
    ) -> AsyncIterator["StepSources"]:
        """Inside the block every metric's own source is read as often as the metric says."""
        step = StepSources(self, subject, baseline)
        own = [each for each in policy.metrics if each.source not in FROM_PROXIES]
        reading = [asyncio.create_task(step.keep_reading(metric)) for metric in own]
        reading.append(asyncio.create_task(step.keep_counting_entities()))
        try:
            yield step
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def counts(
        self, subject: Subject, baseline: VerifiedWeight, known: dict[str, ProxyReport]
    ) -> tuple[Counts, Counts]:
        """The candidate's and the stable's, since the step's weight was verified. Raises Unseen.

        `known` is each proxy's newest report so far, and is brought up to date: what a proxy has answered stays
        answered when it leaves.
        """
        try:
            reports = await self._reports.latest(since=baseline.verified_at)
        except Unavailable as error:
            raise Unseen(f"the proxies' counts can't be read: {error.message}") from error
        now = self.clock()
        late = [report.proxy for report in reports if now - report.reported_at > STALE_SECONDS]
        if late or not reports:
            raise Unseen(f"no fresh counts from {', '.join(late) or 'any proxy'}")
        known |= {report.proxy: report for report in reports}
        candidate, stable = (total_counts(list(known.values()), arm) for arm in (subject.candidate, subject.stable))
        if candidate.has_shrunk(baseline.candidate) or stable.has_shrunk(baseline.stable):
            raise Unseen(
                "the proxies' counts are less than when this step's weight was verified: a proxy has left, or its "
                "report is from before"
            )
        return candidate - baseline.candidate, stable - baseline.stable

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        """What the metric's source says; that it says nothing in time, or fails, is an answer too."""
        meter = self._meters.get(metric.source)
        if meter is None:
            return Reading(self.clock(), error=f"nothing here reads {metric.source}")
        try:
            async with asyncio.timeout(metric.timeout_seconds):
                return await meter.read(metric, subject)
        except TimeoutError:
            return Reading(self.clock(), error=f"{metric.source} gave no answer within {metric.timeout_seconds:g} s")
        except HotSwapError as error:
            return Reading(self.clock(), error=error.message)
        except Exception as error:  # noqa: BLE001 - whatever a source fails with is its answer, and never a pass
            return Reading(self.clock(), error=f"{metric.source} failed: {type(error).__name__}")

    async def entities(self, subject: Subject) -> Entities:
        return await self._census.entities(subject)


class StepSources:
    """One step's; made by `Sources.of`."""

    def __init__(self, sources: Sources, subject: Subject, baseline: VerifiedWeight) -> None:
        self._sources = sources
        self._subject = subject
        self._baseline = baseline
        self._new: dict[str, Reading] = {}
        self._entities: Entities | None = None
        self._sticky = 0
        self._known: dict[str, ProxyReport] = {}

    async def look(self) -> Look:
        """Raises Unseen."""
        candidate, stable = await self._sources.counts(self._subject, self._baseline, self._known)
        self._sticky = candidate.sticky + stable.sticky
        new, self._new = self._new, {}
        return Look(self._sources.clock(), candidate, stable, new, self._entities)

    async def keep_reading(self, metric: Metric) -> None:
        while True:
            self._new[metric.name] = await self._sources.read(metric, self._subject)
            await asyncio.sleep(metric.interval_seconds)

    async def keep_counting_entities(self) -> None:
        """Only where there are any: then a request says less than who sent it."""
        while True:
            if self._sticky:
                try:
                    self._entities = await self._sources.entities(self._subject)
                except Exception:
                    logger.warning(
                        "entities can't be counted", extra={"deployment": self._subject.deployment_id}, exc_info=True
                    )
            await asyncio.sleep(CENSUS_SECONDS)
