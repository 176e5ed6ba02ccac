"""The account of the demo: computed from every client's answers and from Temporal's history, never from hope.

Pure. Each claim that the demo makes is a `Claim` here, with what was seen; the demo succeeds only if all of them hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy.stats import binom

from hotswap.demo.history import WeightChange
from hotswap.demo.traffic import DemoAnswer
from hotswap.domain.traffic import TOTAL_WEIGHT

CONFIDENCE = 0.9999
LEAST_CANDIDATE_REQUESTS = 100


@dataclass(frozen=True, slots=True)
class Claim:
    what: str
    seen: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Split:
    """The division of one step's requests, from its weight's verification to the next change.

    `lowest` and `highest` bound the candidate's requests with `CONFIDENCE` if the weight was honored.
    """

    weight: int
    requests: int
    candidate: int
    lowest: int
    highest: int

    @property
    def is_honoured(self) -> bool:
        return self.requests > 0 and self.lowest <= self.candidate <= self.highest


def splits(
    answers: Sequence[DemoAnswer], changes: Sequence[WeightChange], *, candidate: str, end: float
) -> list[Split]:
    """Return one split per forward change; `end` (Unix time, seconds) ends the last."""
    found = []
    for change, until in pairwise([*((each, each.asked_at) for each in changes), (None, end)]):
        step, next_at = change[0], until[1]
        if step is None or step.share == 0:
            continue
        inside = [answer for answer in answers if step.verified_at < answer.asked_at and answer.answered_at < next_at]
        mine = sum(candidate in (answer.version, answer.fallback_from) for answer in inside)
        low, high = binom.interval(CONFIDENCE, len(inside), step.share / TOTAL_WEIGHT)
        found.append(Split(step.share, len(inside), mine, int(low), int(high)))
    return found


def failures(answers: Sequence[DemoAnswer], *, broken: str) -> list[DemoAnswer]:
    """Return answers other than 2xx, missing ones included, without those that carry the broken version's mark."""
    return [answer for answer in answers if not answer.succeeded and answer.version != broken]


def errors_of(answers: Sequence[DemoAnswer], version: str) -> list[DemoAnswer]:
    """Return a version's failures: those that the stable answered in its place, and those that reached a client."""
    return [
        answer
        for answer in answers
        if answer.fallback_from == version or (answer.version == version and not answer.succeeded)
    ]


def rollback_seconds(answers: Sequence[DemoAnswer], changes: Sequence[WeightChange], *, broken: str) -> float | None:
    """Return the time from the broken version's first error to its verified 0; None where either is missing."""
    errors = errors_of(answers, broken)
    withdrawn = [change for change in changes if change.activity == "withdraw_candidate"]
    if not errors or not withdrawn:
        return None
    return withdrawn[0].verified_at - min(error.answered_at for error in errors)


def longest_silence(answers: Sequence[DemoAnswer], *, begun: float, ended: float) -> float:
    """Return for how many seconds at most no client was answered between two instants (Unix time, seconds)."""
    instants = [begun, *sorted(answer.answered_at for answer in answers), ended]
    return max(later - earlier for earlier, later in pairwise(instants))


def was_taken_over(changes: Sequence[WeightChange]) -> bool:
    """Return whether a second worker set a weight after the first one had."""
    workers = [change.worker for change in changes if change.activity == "set_weight"]
    return len(set(workers)) > 1 and workers[0] != workers[-1]
