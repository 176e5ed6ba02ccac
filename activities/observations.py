"""Observations of a watch: the proxies' counts, and the figures of the other sources that its metrics name.

All watches of a worker share one reader of the counts. It names the silent proxies; the others are judged as long as
there is one (`hotswap/domain/proxies.py`). Every other source is read at its own interval, so that a slow one delays
nothing: an observation takes the readings that are there.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from activities.concurrent import References, RepeatedRequests
from hotswap.domain.analysis import (
    FROM_PROXIES,
    FROM_RECORDS,
    AnalysisPolicy,
    Entities,
    JudgeName,
    Metric,
    Observation,
    Reading,
    Source,
    Subject,
)
from hotswap.domain.baking import OBSERVATION_SECONDS, reading_pause
from hotswap.domain.concurrent import Concurrent
from hotswap.domain.errors import HotSwapError, Unavailable
from hotswap.domain.proxies import LOST_AFTER, AnswerCounts, Arms, Sightings, begun, counted, counts_of, gone_on
from hotswap.domain.traffic import TOTAL_WEIGHT, ProxyReport
from hotswap.messages import VerifiedWeight
from hotswap.ports import Meter, StickyCallers, TrafficBus

AGAIN_SECONDS = 0.1
MAX_AGE_SECONDS = OBSERVATION_SECONDS / 2
"""The greatest age of a reading of the reports that another watch may get."""
ENTITIES_SECONDS = 5.0

logger = logging.getLogger(__name__)


class NoObservation(Exception):
    """There is nothing to judge now; the message says why."""


@dataclass(frozen=True, slots=True)
class Before:
    """The knowledge of the watch before this one: its checkpoint's counts, if it wrote one, and its last observation.

    `concurrent` is what both arms had been asked again by then.
    """

    answered: AnswerCounts | None
    total: Arms
    concurrent: Concurrent | None = None


class SharedReports:
    """One reader of the proxies' reports for all watches of a worker: a thousand watches ask Redis as often as one.

    `stopwatch` measures the age of a reading and of a report. `clock` (Unix time) only tells whether a reading is from
    before the step.
    """

    def __init__(
        self,
        bus: TrafficBus,
        *,
        lost_after: timedelta,
        clock: Callable[[], float],
        stopwatch: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._lost_after = lost_after
        self._clock = clock
        self._stopwatch = stopwatch
        self._lock = asyncio.Lock()
        self._sightings = Sightings()
        self._read_at = self._last_read = float("-inf")

    async def latest(self, *, since: float) -> tuple[list[ProxyReport], tuple[str, ...]]:
        """Return the reports, read at `since` (Unix time) or later, and the silent proxies.

        A report that may be fresh or old is read again until that is known, for a second and a half at most.
        """
        async with self._lock:
            if self._read_at < since or self._stopwatch() - self._last_read > MAX_AGE_SECONDS:
                await self._read()
            while self._sightings.is_undecided(now=self._stopwatch()):
                await asyncio.sleep(AGAIN_SECONDS)
                await self._read()
            return self._sightings.reports, self._sightings.silent(now=self._stopwatch())

    async def _read(self) -> None:
        reports = [each.report for each in counted(await self._bus.proxies(), self._lost_after)]
        self._read_at, self._last_read = self._clock(), self._stopwatch()
        self._sightings.read(reports, now=self._last_read)


class Sources:
    """The sources of observations, shared by all watches of a worker."""

    def __init__(
        self,
        bus: TrafficBus,
        meters: Mapping[Source, Meter],
        sticky_callers: StickyCallers,
        references: References | None = None,
        *,
        lost_after: timedelta = LOST_AFTER,
        clock: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.stopwatch = stopwatch
        self._references = references
        self._reports = SharedReports(bus, lost_after=lost_after, clock=clock, stopwatch=stopwatch)
        self._meters = meters
        self._sticky_callers = sticky_callers

    @asynccontextmanager
    async def of(
        self, subject: Subject, policy: AnalysisPolicy, baseline: VerifiedWeight, before: Before | None = None
    ) -> AsyncIterator["StepSources"]:
        """Read every metric's own source, inside the block, as often as the metric says.

        At 100% both arms are also asked again, where latency is judged. `before` is what an earlier watch of this step
        knew, if there was one.
        """
        reference: RepeatedRequests | None = None
        if self._references is not None and subject.weight == TOTAL_WEIGHT and _compares_latency(policy):
            known = before.concurrent if before is not None else None
            reference = self._references.of(subject, policy.reference, known=known)
        step = StepSources(self, subject, baseline, before, reference)
        own = [each for each in policy.metrics if each.source not in FROM_PROXIES]
        reading = [asyncio.create_task(step.keep_reading(metric)) for metric in own]
        reading.append(asyncio.create_task(step.keep_counting_entities()))
        if reference is not None:
            reading.append(asyncio.create_task(reference.keep_asking(lambda: step.answered_by_candidate)))
        try:
            yield step
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def counts(self, step: "StepSources") -> tuple[AnswerCounts, tuple[str, ...]]:
        """Return the answers since the step's weight was verified, and the silent proxies. Raises NoObservation."""
        try:
            reports, silent = await self._reports.latest(since=step.baseline.verified_at)
        except Unavailable as error:
            raise NoObservation(f"the proxies' counts can't be read: {error.message}") from error
        if len(silent) == len(reports):
            raise NoObservation(f"no fresh counts from {', '.join(silent) or 'any proxy'}")
        now = counts_of(reports, candidate=step.subject.candidate, stable=step.subject.stable)
        if (answered := step.answered_by(now)) is None:
            raise NoObservation(
                "the proxies' counts are less than when this step's weight was verified: a report is from before, or "
                "a proxy has lost its counts"
            )
        return answered, silent

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        """Return what the metric's source says; a failure, or no answer in time, is an answer too."""
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
        return await self._sticky_callers.entities(subject)


class StepSources:
    """The sources of one step; `Sources.of` makes it."""

    def __init__(
        self,
        sources: Sources,
        subject: Subject,
        baseline: VerifiedWeight,
        before: Before | None,
        reference: RepeatedRequests | None,
    ) -> None:
        self._sources = sources
        self.subject = subject
        self.baseline = baseline
        self._before = before
        self._reference = reference
        self._new: dict[str, Reading] = {}
        self._entities: Entities | None = None
        self._replied: Concurrent | None = None
        self.answered: AnswerCounts | None = None
        """The answers by the newest observation; None before the first."""

    async def observe(self) -> Observation:
        """Return an observation of now. Raises NoObservation."""
        self.answered, missing = await self._sources.counts(self)
        total = self.answered.total
        new, self._new = self._new, {}
        return Observation(
            self._sources.clock(), total.candidate, total.stable, new, self._entities, missing, self._newly_replied()
        )

    def _newly_replied(self) -> Concurrent | None:
        """Return the replies of both arms if they differ from the previous observation's: observations are stored."""
        before, self._replied = self._replied, self._reference.seen if self._reference is not None else None
        return None if self._replied == before else self._replied

    def answered_by(self, now: Mapping[str, Arms]) -> AnswerCounts | None:
        """Return the answers by these counts of each proxy; None where the counts are from before the step."""
        if self.answered is not None:
            return self.answered.at(now)
        if self._before is not None:
            return gone_on(now, checkpoint=self._before.answered, last=self._before.total)
        baseline = Arms(self.baseline.candidate, self.baseline.stable)
        return begun(now, baseline=baseline, proxies=self.baseline.proxies)

    @property
    def answered_by_candidate(self) -> int:
        """The number of client requests that the candidate had answered by the newest observation."""
        return self.answered.total.candidate.completed if self.answered is not None else 0

    async def keep_reading(self, metric: Metric) -> None:
        while True:
            begun = self._sources.stopwatch()
            self._new[metric.name] = await self._sources.read(metric, self.subject)
            taken = self._sources.stopwatch() - begun if metric.source in FROM_RECORDS else 0.0
            await asyncio.sleep(reading_pause(taken, interval=metric.interval_seconds))

    async def keep_counting_entities(self) -> None:
        """Count the callers with an arm of their own again and again, where there are any."""
        while True:
            begun = self._sources.stopwatch()
            if self._has_callers:
                try:
                    self._entities = await self._sources.entities(self.subject)
                except Exception:
                    logger.warning(
                        "entities can't be counted", extra={"deployment": self.subject.deployment_id}, exc_info=True
                    )
            taken = self._sources.stopwatch() - begun
            await asyncio.sleep(reading_pause(taken, interval=ENTITIES_SECONDS))

    @property
    def _has_callers(self) -> bool:
        total = self.answered.total if self.answered is not None else Arms()
        return total.candidate.sticky + total.stable.sticky > 0


def _compares_latency(policy: AnalysisPolicy) -> bool:
    return any(each.source is Source.LATENCY and each.judge is JudgeName.QUANTILE for each in policy.metrics)
