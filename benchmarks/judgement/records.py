"""The records of one step, as PostgreSQL's queries tell them: callers, answers, outcomes.

Each query's rule is that of its module in `hotswap/persistence/analysis`: `sticky_callers.py`, `answers.py`,
`accuracy.py`, `draws.py`. A request of nobody in particular weighs 1, and all of one caller's weigh 1 together.
"""

import numpy as np

from benchmarks.judgement.requests import LABELS, NOBODY, Bools, Floats, Ints
from hotswap.domain.analysis import ANSWER, RESCUES, Entities, Moments, Reading
from hotswap.domain.traffic import BUCKETS_PER_OCTAVE, bucket_bound
from hotswap.persistence.analysis.draws import Values, reading
from hotswap.persistence.analysis.sticky_callers import MEDIAN

PLACES = 24 * BUCKETS_PER_OCTAVE
"""Buckets of latency, up to 2^24 microseconds."""
CLASSES = 20
"""Classes of confidence."""
CANDIDATE, STABLE = 0, 1


class Callers:
    """Counts by caller; callers are numbered, and NOBODY is row 0."""

    def __init__(self, most: int, past: "Past") -> None:
        self._past = past
        self._by_candidate = {name: np.zeros(most, dtype=np.int64) for name in ("good", "failed", "refused")}
        self._in_its_place = {name: np.zeros(most, dtype=np.int64) for name in ("good", "failed", "refused")}
        self._by_stable = {name: np.zeros(most, dtype=np.int64) for name in ("good", "failed", "refused")}
        self._failures = np.zeros(most, dtype=np.int64)
        self._latency = np.zeros((2, most, PLACES))

    def add(self, caller: Ints, is_candidate: Bools, status: Ints, recorded: Bools, instead: Ints, ms: Floats) -> None:
        """Count requests. `instead` is what the stable answered in the candidate's place, 0 where it wasn't asked."""
        mine, theirs, in_place = is_candidate & recorded, ~is_candidate & recorded, instead > 0
        for counted, those, said in (
            (self._by_candidate, mine, status),
            (self._by_stable, theirs, status),
            (self._in_its_place, in_place, instead),
        ):
            for name, is_so in (
                ("good", said < 400),
                ("refused", (said >= 400) & (said < 500)),
                ("failed", said >= 500),
            ):
                np.add.at(counted[name], caller[those & is_so], 1)
        np.add.at(self._failures, caller[(mine & (status >= 500)) | in_place], 1)
        place = _place(ms)
        for arm, those in ((CANDIDATE, mine), (STABLE, theirs)):
            good = those & (status < 400)
            np.add.at(self._latency[arm], (caller[good], place[good]), 1)

    def entities(self) -> Entities:
        mine, theirs, instead = self._by_candidate, self._by_stable, self._in_its_place
        replaced = _sum(instead)
        is_candidate = _sum(mine) + replaced > 0
        failed = (mine["failed"] > 0) | ((replaced > 0) & (mine["refused"] == 0))
        rescued = (instead["good"] >= RESCUES) & (mine["good"] == 0) & (mine["refused"] == 0)

        def number(of: Bools) -> int:
            return int(of[NOBODY + 1 :].sum())

        return Entities(
            candidate=number(is_candidate),
            stable=number(_sum(theirs) > 0),
            candidate_failed=number(is_candidate & failed),
            stable_failed=number(theirs["failed"] > 0),
            candidate_refused=number(mine["refused"] > instead["refused"]),
            stable_refused=number(theirs["refused"] > 0),
            candidate_rescued=number(is_candidate & rescued),
            candidate_failures=int((self._failures - np.minimum(mine["refused"], replaced))[NOBODY + 1 :].sum()),
            stable_failures=int(theirs["failed"][NOBODY + 1 :].sum()),
            candidate_latency=_histogram(_weighed(self._latency[CANDIDATE])),
            stable_latency=_histogram(_weighed(self._latency[STABLE])),
            candidate_relative=self._past.beside(self._latency[CANDIDATE]),
            stable_relative=self._past.beside(self._latency[STABLE]),
        )

    def end(self) -> None:
        """Make the stable's answers the past of the next step."""
        self._past.latency += self._latency[STABLE]


class Past:
    """The latencies that callers met at the stable before the present step."""

    def __init__(self, most: int) -> None:
        self.latency = np.zeros((most, PLACES))

    def add(self, caller: Ints, ms: Floats) -> None:
        np.add.at(self.latency, (caller, _place(ms)), 1)

    def beside(self, latency: Floats) -> dict[str, float]:
        """Return these counts by caller, as multiples of the caller's median, or of the middle one if it has none."""
        known: Bools = np.asarray(self.latency.any(axis=1))
        known[NOBODY] = False
        if not known.any():
            return {}
        median = (2 * self.latency.cumsum(axis=1) >= self.latency.sum(axis=1, keepdims=True)).argmax(axis=1)
        median[~known] = int(np.percentile(median[known], 50, method="inverted_cdf"))
        caller, place = np.nonzero(latency)
        those = caller != NOBODY
        relative = np.zeros((len(latency), 2 * PLACES))
        away = place[those] - median[caller[those]] + MEDIAN
        np.add.at(relative, (caller[those], np.maximum(away, 0)), latency[caller[those], place[those]])
        return _histogram(_weighed(relative))


def _place(ms: Floats) -> Ints:
    """Return the bucket of each latency."""
    octaves = np.log2(np.maximum(ms * 1000, 1))
    return np.asarray(np.clip(np.ceil(octaves * BUCKETS_PER_OCTAVE).astype(int), 0, PLACES - 1))


def _histogram(weights: Floats) -> dict[str, float]:
    return {bucket_bound(int(place)): float(weights[place]) for place in np.flatnonzero(weights)}


class Predictions:
    """The distribution of answers and confidences."""

    def __init__(self, most: int) -> None:
        self._answer = np.zeros((2, most, 2 * len(LABELS)))
        self._class = np.zeros((2, most, CLASSES))

    def add(self, arm: int, caller: Ints, label: Ints, confidence: Floats) -> None:
        np.add.at(self._answer[arm], (caller, label), 1)
        np.add.at(self._class[arm], (caller, np.minimum(confidence * CLASSES, CLASSES - 1).astype(int)), 1)

    def reading(self, at: float) -> Reading:
        mine, theirs = (
            {
                name: {str(place): float(weight) for place, weight in enumerate(_weighed(counted[arm])) if weight}
                for name, counted in ((ANSWER, self._answer), ("confidence class", self._class))
                if counted[arm].any()
            }
            for arm in (CANDIDATE, STABLE)
        )
        has_callers = bool(self._answer[:, NOBODY + 1 :].any())
        return Reading(at, candidate_shares=mine, stable_shares=theirs, has_callers=has_callers)


class Outcomes:
    """Sums of labels that were right, by caller."""

    def __init__(self, most: int) -> None:
        self._number = np.zeros((2, most))
        self._right = np.zeros((2, most))

    def add(self, arm: int, caller: Ints, right: Bools) -> None:
        np.add.at(self._number[arm], caller, 1)
        np.add.at(self._right[arm], caller, right.astype(float))

    def forget(self, arm: int) -> None:
        self._number[arm] = self._right[arm] = 0

    def reading(self, at: float) -> Reading:
        mine, theirs = (self._values(arm) for arm in (CANDIDATE, STABLE))
        return reading(at, mine, theirs)

    def _values(self, arm: int) -> Values:
        number, right = self._number[arm], self._right[arm]
        total = float(right.sum())
        every = Moments(int(number.sum()), total, total)
        is_caller = number > 0
        is_caller[NOBODY] = False
        if not is_caller.any():
            return Values(every, None)
        means = right[is_caller] / number[is_caller]
        nobody = float(right[NOBODY])
        drawn = int(number[NOBODY]) + len(means)
        return Values(every, Moments(drawn, nobody + float(means.sum()), nobody + float((means**2).sum())))


def _sum(counted: dict[str, Ints]) -> Ints:
    return np.asarray(np.sum(list(counted.values()), axis=0))


def _weighed(counted: Floats) -> Floats:
    """Weigh a caller's counts so that they come to 1 together; those of nobody in particular stay as they are."""
    totals = counted.sum(axis=1, keepdims=True)
    shares = counted / np.maximum(totals, 1)
    shares[NOBODY] = counted[NOBODY]
    return np.asarray(shares.sum(axis=0))
