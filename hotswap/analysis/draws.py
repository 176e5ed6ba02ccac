"""The draws from which an arm's rate of failures is estimated: requests that don't depend on each other.

The requests of a caller that keeps its arm fall where the first one did, so they are one draw together; a request of
nobody in particular is one of its own. A rate's bounds hold at all times, whenever one looks.
"""

import math
from dataclasses import dataclass

from scipy.special import betaln

from hotswap.domain.analysis import Entities, Source
from hotswap.domain.traffic import Counts


@dataclass(frozen=True, slots=True)
class Draws:
    """Requests, and callers that keep their arm; and how many of them failed, or whatever else is counted of them."""

    failed: float
    number: float

    @property
    def good(self) -> float:
        return max(self.number - self.failed, 0)

    @property
    def rate(self) -> float:
        return self.failed / self.number if self.number else 0.0

    def suffice(self, least: int) -> bool:
        """Return whether these callers are enough for harm: at least `least` of them, and more than one was hit."""
        return self.number >= least and self.failed > 1


@dataclass(frozen=True, slots=True)
class ArmDraws:
    """One arm's counts of what the metric is about, and what is known of its callers; None of them: not counted yet."""

    requests: Draws
    sticky: Draws
    callers: Draws | None
    recorded: int | None

    @property
    def draws(self) -> Draws:
        """Return the requests without an entity and the callers, each once; no callers where nobody counted them."""
        if not self.sticky.number:
            return self.requests
        callers = self.callers or Draws(0, 0)
        return Draws(
            max(self.requests.failed - self.sticky.failed, 0) + callers.failed,
            max(self.requests.number - self.sticky.number, 0) + callers.number,
        )

    @property
    def untold(self) -> float:
        """The share of requests that failed for callers, as the proxies saw, without any record that says so."""
        if not self.requests.number:
            return 0.0
        hit = self.callers.failed if self.callers is not None else 0
        told = self.recorded if self.recorded is not None else self.sticky.failed * bool(hit)
        return max(self.sticky.failed - told, 0) / self.requests.number


def candidate_arm(counts: Counts, seen: Entities | None, source: Source) -> ArmDraws:
    """Return the candidate's draws; requests that both arms refuse are the client's mistake and left out."""
    if source is not Source.REFUSALS:
        return ArmDraws(
            Draws(counts.server_errors, counts.completed),
            Draws(counts.sticky_errors, counts.sticky),
            None if seen is None else Draws(seen.candidate_failed, seen.candidate),
            None if seen is None else seen.candidate_failures,
        )
    mistakes = max(counts.refused - counts.rescued_refusals, 0)
    return ArmDraws(
        Draws(max(counts.client_errors - mistakes, 0), counts.completed),
        Draws(counts.sticky_refused, counts.sticky),
        None if seen is None else Draws(seen.candidate_refused, seen.candidate),
        recorded=counts.sticky_refused,  # a replica that refuses is alive, and records it
    )


def stable_arm(counts: Counts, seen: Entities | None, source: Source) -> ArmDraws:
    if source is not Source.REFUSALS:
        return ArmDraws(
            Draws(counts.server_errors, counts.completed),
            Draws(counts.sticky_errors, counts.sticky),
            None if seen is None else Draws(seen.stable_failed, seen.stable),
            None if seen is None else seen.stable_failures,
        )
    return ArmDraws(
        Draws(counts.client_errors, counts.completed),
        Draws(counts.sticky_refused, counts.sticky),
        None if seen is None else Draws(seen.stable_refused, seen.stable),
        recorded=counts.sticky_refused,
    )


def excess_at_most(candidate: Draws, stable: Draws, *, alpha: float) -> float:
    """Return an upper bound of the candidate's rate above the stable's.

    It holds at all times with probability 1 - alpha.
    """
    _, upper = rate_within(candidate.failed, candidate.good, alpha=alpha / 2)
    lower, _ = rate_within(stable.failed, stable.good, alpha=alpha / 2)
    return upper - lower


def rate_within(hits: float, misses: float, *, alpha: float) -> tuple[float, float]:
    """Return a rate's bounds, valid at all times.

    They are where the Beta mixture's likelihood ratio stays below 1/alpha (Robbins).
    """
    from scipy.optimize import brentq  # It takes 0.3 s to import, which a restarted worker has not to spare.

    if hits + misses == 0:
        return 0.0, 1.0
    mixed = betaln(0.5 + hits, 0.5 + misses) - betaln(0.5, 0.5) + math.log(alpha)

    def contradicted(rate: float) -> float:
        return float(mixed - hits * math.log(rate) - misses * math.log1p(-rate))

    least, most = 1e-12, 1 - 1e-12
    seen = min(max(hits / (hits + misses), least), most)
    lower = brentq(contradicted, least, seen) if hits and contradicted(least) > 0 else 0.0
    upper = brentq(contradicted, seen, most) if misses and contradicted(most) > 0 else 1.0
    return float(lower), float(upper)
