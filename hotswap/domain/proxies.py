"""The proxies that still report, by the reader's own clock, and their answers since a weight was verified.

No clock of another machine is compared with the reader's: a report that differs from the one read before has been made
since then. So a proxy with a wrong clock is read like any other, and a silent proxy doesn't stop the judges: its last
counts stay, the judges continue with the others, and the missing ones are named (if no report is fresh, that is never a
pass: invariant 9).

The answers are the sum of what each proxy's counts have grown by. So it never shrinks and never jumps, whichever
proxies come, leave, fall silent or restart.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hotswap.domain.traffic import Counts, ProxyReport

STALE_SECONDS = 5.0
PATIENCE_SECONDS = 1.5
"""The wait for a report that may be old to change: an agent reports every half second."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A report that was made after `after`, and is there unchanged since `since`; both by the reader's clock."""

    report: ProxyReport
    after: float
    since: float


class Sightings:
    """The proxies' newest reports and their greatest possible age, in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._seen: dict[str, _Sighting] = {}
        self._read_at = float("-inf")

    def read(self, reports: Sequence[ProxyReport], *, now: float) -> None:
        """Take in all that is reported now. How old a report is when it is read for the first time, nobody knows."""
        self._seen = {report.proxy: self._sighting(report, now) for report in reports}
        self._read_at = now

    def _sighting(self, report: ProxyReport, now: float) -> _Sighting:
        known = self._seen.get(report.proxy)
        return known if known is not None and known.report == report else _Sighting(report, self._read_at, now)

    @property
    def reports(self) -> list[ProxyReport]:
        """The newest report of each proxy, old ones too."""
        return [each.report for each in self._seen.values()]

    def silent(self, *, now: float) -> tuple[str, ...]:
        """Return the proxies whose report isn't known to be fresh, in order."""
        return tuple(sorted(name for name, each in self._seen.items() if now - each.after > STALE_SECONDS))

    def is_undecided(self, *, now: float) -> bool:
        """Return whether some report may be fresh or old, so that it must be read again soon."""
        late = (self._seen[name] for name in self.silent(now=now))
        return any(now - each.since < PATIENCE_SECONDS for each in late)

    def unchanged(self, *, now: float) -> dict[str, float]:
        """Return for how many seconds, at least, each proxy's report has been unchanged."""
        return {name: now - each.since for name, each in self._seen.items()}


@dataclass(frozen=True, slots=True)
class Arms:
    """Counts of both arms, by one proxy or by all."""

    candidate: Counts = field(default_factory=Counts)
    stable: Counts = field(default_factory=Counts)

    def __add__(self, other: "Arms") -> "Arms":
        return Arms(self.candidate + other.candidate, self.stable + other.stable)

    def __sub__(self, other: "Arms") -> "Arms":
        return Arms(self.candidate - other.candidate, self.stable - other.stable)

    def has_shrunk(self, before: "Arms") -> bool:
        """Return whether any figure is below its value `before`."""
        return self.candidate.has_shrunk(before.candidate) or self.stable.has_shrunk(before.stable)


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """The answers of both arms at all proxies since the step's weight was verified, up to `marks`.

    `marks` are each proxy's own counts in its newest report: whatever its next report has more has come since.
    """

    total: Arms = Arms()
    marks: dict[str, Arms] = field(default_factory=dict)

    def at(self, now: Mapping[str, Arms]) -> "AnswerCounts":
        """Return the answers by these counts of each proxy.

        A proxy that is new adds only what comes from now on, since nobody knows how much of its counts is from before
        the step. The same holds for a proxy whose counts have shrunk: it restarted.
        """
        total = self.total
        for proxy, counts in now.items():
            before = self.marks.get(proxy)
            if before is not None and not counts.has_shrunk(before):
                total += counts - before
        return AnswerCounts(total, self.marks | dict(now))


def counts_of(reports: Sequence[ProxyReport], *, candidate: str, stable: str) -> dict[str, Arms]:
    """Return both arms' counts of each proxy, by the names of their applications."""
    return {
        each.proxy: Arms(each.counts.get(candidate, Counts()), each.counts.get(stable, Counts())) for each in reports
    }


def begun(now: Mapping[str, Arms], *, baseline: Arms, proxies: Collection[str]) -> AnswerCounts | None:
    """Return the answers at a step's first observation; `baseline` is what `proxies` had counted when they confirmed.

    Return None where they have counted less by now: then a report is from before the step. Where one of them is gone,
    its part of the baseline is unknown, so only answers from now on count.
    """
    if not all(proxy in now for proxy in proxies):
        return AnswerCounts(marks=dict(now))
    total = sum((now[proxy] for proxy in proxies), Arms())
    return None if total.has_shrunk(baseline) else AnswerCounts(total - baseline, dict(now))


def gone_on(now: Mapping[str, Arms], *, checkpoint: AnswerCounts | None, last: Arms) -> AnswerCounts:
    """Return the answers at the first observation of a watch that continues from `last`, the observation before it.

    The checkpoint may be some seconds older than that observation. Where a proxy has left since then, or there is no
    checkpoint, the answers between the two are unknown and don't count.
    """
    if checkpoint is not None and not (answered := checkpoint.at(now)).total.has_shrunk(last):
        return answered
    return AnswerCounts(last, dict(now))
