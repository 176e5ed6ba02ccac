"""The interval of a bake's observations, and the end of a bake: one rule for the watch and for the replay.

Only the observations and their times count, never the observer: the same observations end a bake at the same one.
"""

from dataclasses import replace

from hotswap.domain.analysis import AnalysisPolicy, JudgeName, NoVerdict
from hotswap.domain.verdict import Outcome, Verdict

OBSERVATION_SECONDS = 1.0
LONGEST_INTERVAL_SECONDS = 5.0
_PART = 600
READING_SHARE = 0.1
"""The greatest share of the time in which PostgreSQL works out one figure of a bake's records."""

SECONDS_NEEDED = "seconds_needed"
"""Among a metric's numbers: how long the requests take to come that its evidence needs, at the rate so far."""
BY_CHANCE = "nothing speaks against the candidate at the deadline of its bake"

_LEAST_PART = 0.1
_LEAST_SECONDS = 1.0
_MARGIN = 1.5
"""A watch asks for an extension only while so much more than the least is left: it is granted a moment later."""


def observation_interval(lasted: float, policy: AnalysisPolicy) -> float:
    """Return the seconds until the next observation, of an analysis that has lasted `lasted` seconds.

    A new weight is observed each second, since harm shows soon. After ten minutes the interval grows with the time, up
    to five seconds: a weight that was fine for an hour needs no observation a second, and a hold of a day is stored as
    some 18,000 observations instead of 86,400. Figures are cumulative, so a longer interval loses nothing. But a
    threshold counts its readings, and an observation takes only the newest reading of each metric.
    """
    counted = (each.interval_seconds for each in policy.metrics if each.judge is JudgeName.THRESHOLD)
    return max(OBSERVATION_SECONDS, min([lasted / _PART, LONGEST_INTERVAL_SECONDS, *counted]))


def reading_pause(taken: float, *, interval: float) -> float:
    """Return the seconds until the next reading of the step's records, after one that has taken `taken` seconds.

    A reading takes longer with each record of the step. It may take a tenth of the time, so that a long bake of a busy
    model costs PostgreSQL no more in an hour at its end than at its beginning. Figures are cumulative, so a longer
    pause loses nothing.
    """
    return max(interval, taken * (1 / READING_SHARE - 1))


def is_decided(
    verdict: Verdict, *, at: float, until: float, deadline: float, promotes_early: bool, begun_at: float | None = None
) -> bool:
    """Return whether this verdict, on the observation at `at`, ends the bake: harm always, a pass not before its end.

    Times are Unix time in seconds. Without a verdict a bake goes on until its deadline, unless its metrics say
    otherwise. One that began at `begun_at` ends where it is to be extended in proportion; None means that it isn't
    extended.
    """
    if verdict.outcome is Outcome.HARM or at >= deadline:
        return True
    if verdict.outcome is Outcome.PASS:
        return at >= until or (verdict.early and promotes_early)
    if at < until:
        return False
    if verdict.action is not NoVerdict.EXTEND:
        return not verdict.extends
    return (
        begun_at is not None
        and extended(verdict, at=at, begun_at=begun_at, deadline=deadline, margin=_MARGIN) is not None
    )


def concluded(verdict: Verdict, *, at: float, deadline: float) -> Verdict:
    """Return the verdict that the bake ends with: at its deadline a difference that may be chance is a pass.

    Before the deadline it may still prove to be more, and the evidence of this step counts in the next one all the
    same.
    """
    if at < deadline or not verdict.is_chance or verdict.action is not NoVerdict.EXTEND:
        return verdict
    return replace(verdict, outcome=Outcome.PASS, message=f"{BY_CHANCE}: {verdict.message}")


def extended(verdict: Verdict, *, at: float, begun_at: float, deadline: float, margin: float = 1.0) -> float | None:
    """Return until when a bake is extended that is over at `at` without a verdict; None where that is unknown.

    An inconclusive bake gets the time that its evidence needs at the rate so far, by the metric that needs longest;
    otherwise the first observation that happens to be within its threshold would pass it. The extension is at least a
    tenth of the time so far, so that there are few extensions, and never goes beyond the deadline. Where less than
    `margin` times the minimum is left, there is none.
    """
    if verdict.outcome is not Outcome.INCONCLUSIVE or verdict.action is not NoVerdict.EXTEND:
        return None
    told = (each.numbers.get(SECONDS_NEEDED) for each in verdict.metrics if each.outcome is Outcome.INCONCLUSIVE)
    needed = max((seconds for seconds in told if seconds is not None), default=None)
    least = max(_LEAST_SECONDS, _LEAST_PART * (at - begun_at))
    if needed is None or deadline - at < margin * least:
        return None
    return min(deadline, at + max(needed, least))
