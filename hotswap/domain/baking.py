"""When a bake has its verdict: one rule for who watches it and for who judges it again.

Only what was seen and when counts, never who looked: the same looks end a bake at the same one of them.
"""

from hotswap.domain.analysis import NoVerdict
from hotswap.domain.verdict import Outcome, Verdict


def is_decided(verdict: Verdict, *, at: float, until: float, deadline: float, promotes_early: bool) -> bool:
    """Whether this verdict, made on what was seen `at`, is the bake's: harm always, a pass not before its end.

    Times are Unix time in seconds; without a verdict a bake is extended to its deadline, unless its metrics say else.
    """
    if verdict.outcome is Outcome.HARM or at >= deadline:
        return True
    if verdict.outcome is Outcome.PASS:
        return at >= until or (verdict.early and promotes_early)
    return at >= until and verdict.action is not NoVerdict.EXTEND
