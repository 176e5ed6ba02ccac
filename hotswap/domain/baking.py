"""How often a bake is looked at, and when it has its verdict: one rule for who watches it and for who judges it again.

Only what was seen and when counts, never who looked: the same looks end a bake at the same one of them.
"""

from dataclasses import replace

from hotswap.domain.analysis import AnalysisPolicy, JudgeName, NoVerdict
from hotswap.domain.verdict import Outcome, Verdict

OBSERVATION_SECONDS = 1.0
LONGEST_LOOK_SECONDS = 5.0
_PART = 600

SECONDS_NEEDED = "seconds_needed"
"""Among a metric's numbers: how long the requests take to come that its evidence needs, at the rate so far."""
BY_CHANCE = "nothing speaks against the candidate at the deadline of its bake"

_LEAST_PART = 0.1
_LEAST_SECONDS = 1.0
_MARGIN = 1.5
"""A watch asks for an extension only while so much more than the least is left: who grants it looks a moment later."""


def observation_interval(lasted: float, policy: AnalysisPolicy) -> float:
    """Seconds from a look to the next, of an analysis that has lasted so long (seconds).

    A new weight is looked at each second, since harm shows soon. After ten minutes the interval grows with the time, up
    to five seconds: what was fine for an hour doesn't need a look a second, and a hold of a day is stored as some
    18,000 looks and not 86,400. Figures are cumulative, so a longer interval loses nothing; but a threshold counts its
    readings, and a look takes only the newest of each.
    """
    counted = (each.interval_seconds for each in policy.metrics if each.judge is JudgeName.THRESHOLD)
    return max(OBSERVATION_SECONDS, min([lasted / _PART, LONGEST_LOOK_SECONDS, *counted]))


def is_decided(
    verdict: Verdict, *, at: float, until: float, deadline: float, promotes_early: bool, begun_at: float | None = None
) -> bool:
    """Whether this verdict, made on what was seen `at`, is the bake's: harm always, a pass not before its end.

    Times are Unix time in seconds. Without a verdict a bake is looked at until its deadline, unless its metrics say
    else; one that began at `begun_at` returns where it is to be extended in proportion (None: it isn't).
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
    """The verdict on what was seen `at`, as a bake ends by it: at its deadline what is no more than chance passes.

    Before that it may yet be shown to be more, and the evidence of this step counts in the next one all the same.
    """
    if at < deadline or not verdict.is_chance or verdict.action is not NoVerdict.EXTEND:
        return verdict
    return replace(verdict, outcome=Outcome.PASS, message=f"{BY_CHANCE}: {verdict.message}")


def extended(verdict: Verdict, *, at: float, begun_at: float, deadline: float, margin: float = 1.0) -> float | None:
    """Until when a bake goes on that is over `at` without a verdict; None where nobody knows what it takes.

    What is inconclusive has the time that its evidence needs at the rate so far, the metric that needs longest: else
    the first look by chance within its threshold would pass it. It is at least a tenth of the time so far, so that
    there are few extensions, and never beyond the deadline: where less than `margin` times the least is left, it isn't
    extended.
    """
    if verdict.outcome is not Outcome.INCONCLUSIVE or verdict.action is not NoVerdict.EXTEND:
        return None
    told = (each.numbers.get(SECONDS_NEEDED) for each in verdict.metrics if each.outcome is Outcome.INCONCLUSIVE)
    needed = max((seconds for seconds in told if seconds is not None), default=None)
    least = max(_LEAST_SECONDS, _LEAST_PART * (at - begun_at))
    if needed is None or deadline - at < margin * least:
        return None
    return min(deadline, at + max(needed, least))
