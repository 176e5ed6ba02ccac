"""How often a bake is looked at, and when it has its verdict: one rule for who watches it and for who judges it again.

Only what was seen and when counts, never who looked: the same looks end a bake at the same one of them.
"""

from hotswap.domain.analysis import AnalysisPolicy, JudgeName, NoVerdict
from hotswap.domain.verdict import Outcome, Verdict

LOOK_SECONDS = 1.0
LONGEST_LOOK_SECONDS = 5.0
_PART = 600


def look_interval(lasted: float, policy: AnalysisPolicy) -> float:
    """Seconds from a look to the next, of an analysis that has lasted so long (seconds).

    A new weight is looked at each second, since harm shows soon. After ten minutes the interval grows with the time, up
    to five seconds: what was fine for an hour doesn't need a look a second, and a hold of a day is stored as some
    18,000 looks and not 86,400. Figures are cumulative, so a longer interval loses nothing; but a threshold counts its
    readings, and a look takes only the newest of each.
    """
    counted = (each.interval_seconds for each in policy.metrics if each.judge is JudgeName.THRESHOLD)
    return max(LOOK_SECONDS, min([lasted / _PART, LONGEST_LOOK_SECONDS, *counted]))


def is_decided(verdict: Verdict, *, at: float, until: float, deadline: float, promotes_early: bool) -> bool:
    """Whether this verdict, made on what was seen `at`, is the bake's: harm always, a pass not before its end.

    Times are Unix time in seconds; without a verdict a bake is extended to its deadline, unless its metrics say else.
    """
    if verdict.outcome is Outcome.HARM or at >= deadline:
        return True
    if verdict.outcome is Outcome.PASS:
        return at >= until or (verdict.early and promotes_early)
    return at >= until and verdict.action is not NoVerdict.EXTEND and not verdict.extends
