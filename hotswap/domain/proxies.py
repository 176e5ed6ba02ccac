"""The proxies: which of them count, which still report, and their answers since a weight was verified.

A proxy is registered by its first report, and each further one renews its lease. One whose lease runs out is lost: its
Envoy may route as before, so a step forward waits for it, and so does the end of a rollback. After a bound it is out of
the count, and nothing waits for it any more: a proxy that comes back after that takes the newest plan before it takes
a request (`serving/agent.py`).

No clock of another machine is compared with the reader's: a report that differs from the one read before has been made
since then. So a proxy with a wrong clock is read like any other, and a silent proxy doesn't stop the judges: its last
counts stay, the judges continue with the others, and the missing ones are named (if no report is fresh, that is never a
pass: invariant 9).

The answers are the sum of what each proxy's counts have grown by. So it never shrinks and never jumps, whichever
proxies come, leave, fall silent or restart.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from hotswap.domain.errors import ProxyNameTaken
from hotswap.domain.traffic import Counts, ProxyReport, TrafficPlan
from hotswap.domain.vocabulary import Environment

PROXY_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
LEASE_SECONDS = 5.0
"""The lease that a report renews, in seconds of the store's clock; an agent reports every half second."""
STALE_SECONDS = LEASE_SECONDS
LOST_AFTER = timedelta(minutes=10)
"""How long a lost proxy counts, if no setting says otherwise."""
PATIENCE_SECONDS = 1.5
"""The wait for a report that may be old to change: an agent reports every half second."""


class ProxyState(StrEnum):
    """Whether a proxy renews its lease, and whether anything waits for it."""

    LIVE = "Live"
    LOST = "Lost"
    """Its lease has run out; it still counts."""
    OUT_OF_COUNT = "OutOfCount"
    """It has been lost for so long that nothing waits for it any more."""


@dataclass(frozen=True, slots=True)
class RegisteredProxy:
    """A proxy's newest report, and for how many seconds it has not renewed its lease, by the clock of the store."""

    report: ProxyReport
    silent_for: float

    @property
    def name(self) -> str:
        return self.report.proxy

    def belongs_to(self, plan: TrafficPlan) -> bool:
        """Return whether it is a proxy of the plan's installation, or has not met any plan yet."""
        return self.report.installation in ("", plan.installation)

    def state(self, lost_after: timedelta) -> ProxyState:
        """Return its state, where a lost proxy counts until it has been silent for `lost_after`."""
        if self.silent_for <= LEASE_SECONDS:
            return ProxyState.LIVE
        return ProxyState.LOST if self.silent_for <= lost_after.total_seconds() else ProxyState.OUT_OF_COUNT


def counted(
    proxies: Iterable[RegisteredProxy], lost_after: timedelta, *, environment: Environment | None = None
) -> list[RegisteredProxy]:
    """Return the proxies that count, in order of their names; with `environment` only those that serve it."""
    found = [
        each
        for each in proxies
        if each.state(lost_after) is not ProxyState.OUT_OF_COUNT
        and (environment is None or environment in each.report.environments)
    ]
    return sorted(found, key=lambda each: each.name)


def out_of_count(proxies: Iterable[RegisteredProxy], lost_after: timedelta) -> list[RegisteredProxy]:
    """Return the proxies that nothing waits for any more, in order of their names."""
    found = [each for each in proxies if each.state(lost_after) is ProxyState.OUT_OF_COUNT]
    return sorted(found, key=lambda each: each.name)


def newest(*stores: Iterable[RegisteredProxy]) -> list[RegisteredProxy]:
    """Return each proxy once, in order of their names, with the newest report that any store has of it."""
    found: dict[str, RegisteredProxy] = {}
    for each in (each for store in stores for each in store):
        known = found.get(each.name)
        found[each.name] = each if known is None else _newer(known, each)
    return [found[name] for name in sorted(found)]


def _newer(one: RegisteredProxy, other: RegisteredProxy) -> RegisteredProxy:
    """Return the proxy with the newer report of two.

    Of one incarnation, the plan that it confirms decides first, since the clock of its machine may have been set
    meanwhile. Another incarnation may have lost its plan, so there the lease decides.
    """
    silent_for = min(one.silent_for, other.silent_for)
    if one.report.incarnation != other.report.incarnation:
        return one if one.silent_for <= other.silent_for else other
    report = max(one.report, other.report, key=lambda report: (report.confirmed, report.reported_at))
    return RegisteredProxy(report, silent_for)


def name_taken(proxy: str, *, left: float) -> ProxyNameTaken:
    """Return the error for a report under a name that another proxy holds for `left` seconds more at least."""
    return ProxyNameTaken(
        f"another proxy reports as {proxy}, and holds that name for {left:.1f} s more at least: give each proxy a name "
        "of its own (HOTSWAP_AGENT__PROXY), or stop the other one"
    )


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
