"""Which proxies still report, by the reader's own clock, and what they have answered since a weight was verified.

No clock of another machine is compared with one's own: a report that isn't the one that was read before has been made
since then. So a proxy whose clock is wrong is heard like any other, and one that is silent blinds nobody: its last
counts stay, the judges go on by those of the others, and who was missing is told (invariant 9: that none is fresh is
never a pass).

What was answered is summed up by what each proxy's counts have grown. So it never shrinks and never jumps, whichever
proxies come, leave, fall silent or begin anew.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hotswap.domain.traffic import Counts, ProxyReport

STALE_SECONDS = 5.0
PATIENCE_SECONDS = 1.5
"""For so long a report that may be old is waited for to change: an agent reports every half second."""


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A report that was made after `after`, and is there unchanged since `since`; both by the reader's clock."""

    report: ProxyReport
    after: float
    since: float


class Sightings:
    """The proxies' newest reports and how old they are at most. Times are seconds of a clock that is never set."""

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
        """The newest of each proxy, old ones too."""
        return [each.report for each in self._seen.values()]

    def silent(self, *, now: float) -> tuple[str, ...]:
        """The proxies whose report isn't known to be fresh, in order."""
        return tuple(sorted(name for name, each in self._seen.items() if now - each.after > STALE_SECONDS))

    def is_undecided(self, *, now: float) -> bool:
        """Whether some report may be fresh or old, and reading again soon will tell."""
        late = (self._seen[name] for name in self.silent(now=now))
        return any(now - each.since < PATIENCE_SECONDS for each in late)

    def unchanged(self, *, now: float) -> dict[str, float]:
        """For how many seconds each proxy's report has been there, at least."""
        return {name: now - each.since for name, each in self._seen.items()}


@dataclass(frozen=True, slots=True)
class Arms:
    """Both arms' counts, of one proxy or of all."""

    candidate: Counts = field(default_factory=Counts)
    stable: Counts = field(default_factory=Counts)

    def __add__(self, other: "Arms") -> "Arms":
        return Arms(self.candidate + other.candidate, self.stable + other.stable)

    def __sub__(self, other: "Arms") -> "Arms":
        return Arms(self.candidate - other.candidate, self.stable - other.stable)

    def has_shrunk(self, before: "Arms") -> bool:
        """Whether any figure is below what it was `before`."""
        return self.candidate.has_shrunk(before.candidate) or self.stable.has_shrunk(before.stable)


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """What both arms have answered at all proxies since the step's weight was verified, up to `marks`.

    `marks` are each proxy's own counts in its newest report: what its next one has more is what came since.
    """

    total: Arms = Arms()
    marks: dict[str, Arms] = field(default_factory=dict)

    def at(self, now: Mapping[str, Arms]) -> "AnswerCounts":
        """By these counts of each proxy.

        A proxy that wasn't there before adds what comes from now on, since nobody knows how much of its counts is from
        before the step; so does one whose counts have shrunk, which began anew.
        """
        total = self.total
        for proxy, counts in now.items():
            before = self.marks.get(proxy)
            if before is not None and not counts.has_shrunk(before):
                total += counts - before
        return AnswerCounts(total, self.marks | dict(now))


def counts_of(reports: Sequence[ProxyReport], *, candidate: str, stable: str) -> dict[str, Arms]:
    """Of each proxy, by the names of both arms' applications."""
    return {
        each.proxy: Arms(each.counts.get(candidate, Counts()), each.counts.get(stable, Counts())) for each in reports
    }


def begun(now: Mapping[str, Arms], *, baseline: Arms, proxies: Collection[str]) -> AnswerCounts | None:
    """What was answered by a step's first look; `baseline` is what `proxies` had counted together when they confirmed.

    None where they have counted less by now: then a report is from before. Where one of them isn't there any more,
    nobody knows its part of the baseline, and what is answered counts from now on.
    """
    if not all(proxy in now for proxy in proxies):
        return AnswerCounts(marks=dict(now))
    total = sum((now[proxy] for proxy in proxies), Arms())
    return None if total.has_shrunk(baseline) else AnswerCounts(total - baseline, dict(now))


def gone_on(now: Mapping[str, Arms], *, checkpoint: AnswerCounts | None, last: Arms) -> AnswerCounts:
    """What was answered by the first look of a watch that goes on from `last`, the look before it.

    The checkpoint may be some seconds older than that look. Where a proxy has left since then, or there is no
    checkpoint, what was answered while nobody looked isn't known and doesn't count.
    """
    if checkpoint is not None and not (answered := checkpoint.at(now)).total.has_shrunk(last):
        return answered
    return AnswerCounts(last, dict(now))
