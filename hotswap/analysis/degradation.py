"""Detection of an active version that has begun to predict worse: each check looks for a change in its outcomes.

Any minute of the last hour, and any hour of the last day, may be when it began: the outcomes since then are compared
with the version's before, and with those of the version before it. Harm is, as everywhere, evidence *and* an excess
over the threshold. Both sides have bounds that hold at all times, so that it doesn't matter how often they are checked:
for labels those of the Beta mixture (`errors.py`), for distances of numbers asymptotic ones (Waudby-Smith, Arbour,
Sinha, Kennedy, Ramdas: Time-uniform central limit theory and asymptotic confidence sequences, arXiv 2103.06476).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hotswap.analysis.draws import rate_within
from hotswap.analysis.quality import OutcomeTally
from hotswap.domain.analysis import Moments
from hotswap.domain.monitoring import MonitoringPolicy

ALPHA = 1e-7
"""The probability that a beginning is wrongly found, if outcomes don't depend on each other. There are 1,440 of them in
a day, and two measures for each: one false alarm of a model in ten years.
"""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The outcomes of the predictions answered from `begin` on (Unix time, seconds), until the next bucket."""

    begin: float
    tally: OutcomeTally


@dataclass(frozen=True, slots=True)
class Degradation:
    """A change to worse since `since` (Unix time, seconds): predictions are `recent`, and should be as `before`.

    For labels these are accuracies, for numbers mean absolute errors (`is_error`). At `limit` it is over again.
    """

    since: float
    recent: float
    before: float
    limit: float
    samples: int
    is_error: bool
    compared_with: str

    @property
    def message(self) -> str:
        if self.is_error:
            went = f"mean absolute error {self.recent:.4g} over {self.samples} outcomes, {self.before:.4g}"
        else:
            went = f"accuracy {self.recent:.1%} over {self.samples} outcomes, {self.before:.1%}"
        return f"{went} {self.compared_with}"


def degradation(
    history: Sequence[Bucket],
    *,
    begins: Iterable[float],
    predecessor: tuple[str, OutcomeTally] | None,
    policy: MonitoringPolicy,
) -> Degradation | None:
    """Return the largest drop that chance doesn't explain, of those that began at one of `begins`; None without one.

    `history` is all that is known of the version, in order of time. `predecessor` names the version before it and how
    good that was, if there was one.
    """
    whole = OutcomeTally()
    for bucket in history:
        _merge(whole, bucket.tally)
    is_error = whole.numbers > whole.labels
    found = []
    for begin in begins:
        since = OutcomeTally()
        for bucket in history:
            if bucket.begin >= begin:
                _merge(since, bucket.tally)
        recent = badness(since, is_error=is_error)
        own = badness(whole, is_error=is_error) - recent
        measures = [("before", own)]
        if predecessor is not None:
            measures.append((f"of {predecessor[0]} before it", badness(predecessor[1], is_error=is_error)))
        for compared_with, before in measures:
            if _is_worse(recent, before, is_error=is_error, policy=policy):
                found.append(_told(begin, recent, before, compared_with, is_error=is_error, policy=policy))
    return max(found, key=lambda each: abs(each.recent - each.before), default=None)


def has_recovered(since: OutcomeTally, *, limit: float, is_error: bool, samples: int) -> bool:
    """Return whether the latest outcomes, at least `samples` of them, are within a degradation's limit again."""
    lately = badness(since, is_error=is_error)
    if lately.mean is None or lately.count < samples:
        return False
    return lately.mean <= limit if is_error else 1 - lately.mean >= limit


def badness(tally: OutcomeTally, *, is_error: bool) -> Moments:
    """Return the badness: the distances of numbers, or one for each wrong label."""
    if is_error:
        return Moments(tally.numbers, max(tally.absolute, 0.0), max(tally.squared, 0.0))
    wrong = float(tally.labels - tally.correct)
    return Moments(tally.labels, wrong, wrong)


def _merge(into: OutcomeTally, tally: OutcomeTally) -> None:
    """Add a tally, without the confusion of labels, which isn't needed here."""
    into.labels += tally.labels
    into.correct += tally.correct
    into.numbers += tally.numbers
    into.absolute += tally.absolute
    into.squared += tally.squared


def _is_worse(recent: Moments, before: Moments, *, is_error: bool, policy: MonitoringPolicy) -> bool:
    if recent.mean is None or before.mean is None or min(recent.count, before.count) < policy.samples:
        return False
    if recent.mean <= _limit(before.mean, is_error=is_error, policy=policy):
        return False
    least, _ = _bounds(recent, is_error=is_error)
    _, most = _bounds(before, is_error=is_error)
    return least > most


def _limit(before: float, *, is_error: bool, policy: MonitoringPolicy) -> float:
    """Return the worst badness that is allowed."""
    return before * (1 + policy.accuracy_drop) if is_error else before + policy.accuracy_drop * (1 - before)


def _told(
    begin: float, recent: Moments, before: Moments, compared_with: str, *, is_error: bool, policy: MonitoringPolicy
) -> Degradation:
    assert recent.mean is not None
    assert before.mean is not None
    limit = _limit(before.mean, is_error=is_error, policy=policy)
    figures = (recent.mean, before.mean, limit)
    now, then, worst = figures if is_error else (1 - each for each in figures)
    return Degradation(begin, now, then, worst, recent.count, is_error, compared_with)


def _bounds(badness: Moments, *, is_error: bool) -> tuple[float, float]:
    """Return bounds of the badness's expectation that hold at all times."""
    if not is_error:
        wrong = round(badness.total)
        return rate_within(wrong, badness.count - wrong, alpha=ALPHA / 2)
    assert badness.mean is not None
    number, spread = badness.count, max(badness.squares / badness.count - badness.mean**2, 0.0)
    # Tightest at about a hundred outcomes.
    rho = (-2 * math.log(ALPHA) + math.log(-2 * math.log(ALPHA) + 1)) / 100
    scaled = number * rho + 1
    margin = math.sqrt(spread * 2 * scaled / (number**2 * rho) * math.log(math.sqrt(scaled) / (ALPHA / 2)))
    return badness.mean - margin, badness.mean + margin
