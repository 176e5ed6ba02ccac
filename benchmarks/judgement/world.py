"""Stands for clients, Envoy, replicas and their records: the ports that a watch reads from, over drawn requests.

Time is the driver's: whoever reads makes the seconds up to now pass first. A request is counted when it ends, at the
arm that it was sent to, as `serving/envoy/access_log_stats.py` counts.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.judgement.callers import Comes
from benchmarks.judgement.records import CANDIDATE, STABLE, Callers, Outcomes, Past, Predictions
from benchmarks.judgement.requests import Begins, Bools, Floats, Ints, Requests, fine
from benchmarks.judgement.versions import MOST_CALLERS
from hotswap.domain.analysis import Entities, Metric, Reading, Source, Subject
from hotswap.domain.proxies import RegisteredProxy
from hotswap.domain.traffic import TOTAL_WEIGHT, Counts, ProxyReport

BEGIN = 1_800_000_000.0
"""Unix time of the first weight."""

CANDIDATE_APP, STABLE_APP = "fraud-2", "fraud-1"
PROXY_MS = 0.4

Disturbs = Callable[[float, list[ProxyReport]], list[ProxyReport]]
"""A change of the proxies' reports on their way, so many seconds after the first weight."""


class World:
    """One rollout's. `candidate_timeout` ends what takes longer, as the gateway does.

    So many seconds before it are on record, `seconds_on_record`, by which callers are compared with themselves.
    """

    def __init__(
        self,
        draw: np.random.Generator,
        comes: Comes,
        effects: Sequence[Begins],
        *,
        clock: Callable[[], float],
        fallback: bool = True,
        retries: int = 0,
        labels_after: float | None = None,
        disturbs: Disturbs | None = None,
        proxies: int = 1,
        seconds_on_record: int = 0,
    ) -> None:
        self._draw = draw
        self._traffic = comes(draw)
        self._effects = [begin(draw) for begin in effects]
        self._clock = clock
        self._fallback = fallback
        self._retries = retries
        self._labels_after = labels_after
        self._disturbs = disturbs
        self._place = draw.random(MOST_CALLERS)
        self._second = 0
        self._weight = 0
        self._ending: dict[int, list[_Sent]] = defaultdict(list)
        self._outcomes_due: dict[int, list[tuple[float, int, Ints, Bools]]] = defaultdict(list)
        self._again: list[tuple[int, Requests]] = []
        self._counts = [[Counts(), Counts()] for _ in range(proxies)]
        self._outcomes = Outcomes(MOST_CALLERS)
        self.requests = 0
        self.hurt = 0
        self.lately: deque[Requests] = deque(maxlen=10)
        """The requests of the newest seconds, each by itself."""
        self._past = Past(MOST_CALLERS)
        for second in range(1, seconds_on_record + 1):
            self._remember(self.before(-second))
        self._callers = Callers(MOST_CALLERS, self._past)
        self._forget(BEGIN)

    def _remember(self, requests: Requests) -> None:
        """Remember what the stable answered well to callers that keep their arm."""
        known = (requests.caller > 0) & (requests.stable.statuses(self._draw) < 400)
        self._past.add(requests.caller[known], requests.stable.ms[known])

    def before(self, second: int) -> Requests:
        """Return the requests of a second before the rollout."""
        return self._drawn(float(second), 0.0)

    def set_weight(self, weight: int) -> None:
        self._pass()
        self._weight = weight
        self._forget(self._clock())

    async def proxies(self) -> list[RegisteredProxy]:
        return [RegisteredProxy(each, 0.0) for each in await self.reports()]

    async def reports(self) -> list[ProxyReport]:
        self._pass()
        now = self._clock()
        reports = [
            ProxyReport(f"envoy-{number}", 1, now, dict(zip((CANDIDATE_APP, STABLE_APP), arms, strict=True)))
            for number, arms in enumerate(self._counts)
        ]
        return reports if self._disturbs is None else self._disturbs(now - BEGIN, reports)

    async def entities(self, subject: Subject) -> Entities:
        self._pass()
        return self._callers.entities()

    async def read(self, metric: Metric, subject: Subject) -> Reading:
        self._pass()
        match metric.source:
            case Source.ACCURACY:
                return self._outcomes.reading(self._clock())
            case Source.ANSWERS:
                return self._predictions.reading(self._clock())
            case _:
                return Reading(self._clock(), message="no training reference")

    def _forget(self, since: float) -> None:
        """Forget records from before the step's weight; at 100% keep the stable's outcomes of the day before."""
        self._since = since - BEGIN
        self._callers.end()
        self._callers, self._predictions = Callers(MOST_CALLERS, self._past), Predictions(MOST_CALLERS)
        self._outcomes.forget(CANDIDATE)
        if self._weight < TOTAL_WEIGHT:
            self._outcomes.forget(STABLE)

    def _pass(self) -> None:
        while BEGIN + self._second + 1 <= self._clock():
            self._send(self._second)
            for sent in self._ending.pop(self._second, ()):
                self._end(sent)
            for began, arm, caller, right in self._outcomes_due.pop(self._second, ()):
                if began >= self._since:
                    self._outcomes.add(arm, caller, right)
            self._second += 1

    def _drawn(self, at: float, weight: float) -> Requests:
        requests = fine(self._draw, self._traffic(at), at=at, weight=weight)
        for effect in self._effects:
            effect(requests)
        return requests

    def _send(self, second: int) -> None:
        requests = self._drawn(float(second), self._weight / TOTAL_WEIGHT)
        self.lately.append(requests)
        self._ask(requests, second, tries=0)
        again, self._again = self._again, []
        for tries, failed in again:
            self._ask(replace(failed, at=float(second), weight=self._weight / TOTAL_WEIGHT), second, tries=tries)

    def _ask(self, requests: Requests, second: int, *, tries: int) -> None:
        if not len(requests):
            return
        place = np.where(requests.caller > 0, self._place[requests.caller], self._draw.random(len(requests)))
        is_candidate: Bools = place < requests.weight
        sent = _Sent.of(requests, is_candidate, self._draw, fallback=self._fallback, tries=tries)
        ends = second + (sent.ms // 1000).astype(int)
        for end in np.unique(ends):
            self._ending[int(end)].append(sent if (ends == end).all() else sent.at(ends == end))

    def _end(self, sent: "_Sent") -> None:
        requests, mine = sent.requests, sent.is_candidate
        is_sticky = requests.caller > 0
        proxy = self._draw.integers(0, len(self._counts), len(requests))
        for number, arms in enumerate(self._counts):
            here = proxy == number
            arms[CANDIDATE] += sent.counted(mine & here, is_sticky)
            arms[STABLE] += sent.counted(~mine & here, is_sticky)
        self.requests += len(requests)
        self.hurt += int(sent.hurts.sum())
        if self._retries > sent.tries and (failed := sent.seen >= 500).any():
            self._again.append((sent.tries + 1, requests.at_places(failed)))
        if requests.at < self._since:
            return
        if is_sticky.any():
            self._callers.add(requests.caller, mine, sent.status, sent.recorded, sent.instead, sent.ms)
        for arm, those, answers in ((CANDIDATE, mine, requests.candidate), (STABLE, ~mine, requests.stable)):
            good = those & (sent.status < 400) & sent.recorded
            caller = requests.caller[good]
            self._predictions.add(arm, caller, answers.label[good], answers.confidence[good])
            if self._labels_after is not None:
                due = max(int(requests.at + self._labels_after), self._second)
                self._outcomes_due[due].append((requests.at, arm, caller, answers.right[good]))


class _Sent:
    """Requests that were sent to an arm each, and what came of it."""

    def __init__(
        self,
        requests: Requests,
        is_candidate: Bools,
        status: Ints,
        instead: Ints,
        recorded: Bools,
        ms: Floats,
        tries: int,
    ) -> None:
        self.requests = requests
        self.is_candidate = is_candidate
        self.status = status
        self.instead = instead
        self.recorded = recorded
        self.ms = ms
        self.tries = tries

    @classmethod
    def of(
        cls, requests: Requests, is_candidate: Bools, draw: np.random.Generator, *, fallback: bool, tries: int
    ) -> "_Sent":
        mine, theirs = requests.candidate, requests.stable
        status = np.where(is_candidate, mine.statuses(draw), theirs.statuses(draw))
        fails = is_candidate & (status >= 400) & fallback
        instead = np.where(fails, theirs.statuses(draw), 0)
        recorded = np.where(is_candidate, mine.recorded | (status < 400), theirs.recorded | (status < 400))
        ms = np.where(is_candidate, mine.ms, theirs.ms)
        return cls(requests, is_candidate, status, instead, recorded, ms, tries)

    def at(self, places: Bools) -> "_Sent":
        return _Sent(
            self.requests.at_places(places),
            self.is_candidate[places],
            self.status[places],
            self.instead[places],
            self.recorded[places],
            self.ms[places],
            self.tries,
        )

    @property
    def seen(self) -> Ints:
        """Return the statuses that the client saw."""
        return np.where(self.instead > 0, self.instead, self.status)

    @property
    def hurts(self) -> Bools:
        """Return which requests the candidate answered worse than the stable would have."""
        stable_answers = (self.requests.stable.status < 400) & (self.requests.stable.flaky < 1)
        failed = (self.status >= 400) & (self.instead == 0) & stable_answers
        answered = (self.status < 400) & self.requests.candidate.hurts
        return np.asarray(self.is_candidate & (failed | answered))

    def counted(self, those: Bools, is_sticky: Bools) -> Counts:
        """Return what a proxy counts of those requests, all of one arm."""
        if not those.any():
            return Counts()
        status, instead, sticky = self.status[those], self.instead[those], is_sticky[those]
        failed, refused = status >= 500, (status >= 400) & (status < 500)
        rescued = (instead > 0) & (instead < 400)
        us = (self.ms[those][status < 300] + PROXY_MS) * 1000
        return Counts(
            completed=len(status),
            server_errors=int(failed.sum()),
            client_errors=int(refused.sum()),
            fell_back=int((instead > 0).sum()),
            sticky=int(sticky.sum()),
            sticky_errors=int((failed & sticky).sum()),
            sticky_refused=int((refused & sticky).sum()),
            refused=int((refused & (instead > 0)).sum()),
            rescued_refusals=int((refused & rescued).sum()),
            rescued_errors=int((failed & rescued).sum()),
            latency=_histogram(us),
        )


def _histogram(microseconds: Floats) -> dict[str, int]:
    """Return a histogram by upper bounds of buckets with two digits, as Envoy's are."""
    if not len(microseconds):
        return {}
    unit = 10.0 ** (np.floor(np.log10(microseconds)) - 1)
    bounds, counts = np.unique((np.floor(microseconds / unit) + 1) * unit, return_counts=True)
    return {f"{bound:g}": int(count) for bound, count in zip(bounds, counts, strict=True)}
