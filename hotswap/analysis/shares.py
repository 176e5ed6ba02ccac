"""The lower bound of a share of a backtest's requests, as far as the evidence goes. Pure.

One arm's share has the exact binomial bound (Clopper and Pearson 1934) at `ALPHA`: of 200 requests 7 have to be refused
before more than 1% is shown. Where both versions do the same by chance, only the candidate's excess counts.
"""

import math

import numpy as np
from scipy.special import betaincinv

from hotswap.analysis.betting import STAKES
from hotswap.analysis.evidence import log_mean
from hotswap.domain.backtest import ReplyTally

ALPHA = 0.005
"""The probability that a bound is wrong."""


def tally(hits: float, of: int) -> ReplyTally:
    """Count, with the exact lower bound of the share at `ALPHA`; parts of hits are rounded down to be safe."""
    whole = math.floor(hits + 1e-9)
    return ReplyTally(whole, of, at_least(whole, of, alpha=ALPHA))


def at_least(hits: int, of: int, *, alpha: float) -> float:
    """Return the exact lower bound of the share, which is wrong with probability `alpha` at most."""
    return float(betaincinv(hits, of - hits + 1, alpha)) if hits else 0.0


def always_at_least(hits: int, of: int, *, times: int, alpha: float) -> float:
    """Return a lower bound of the share of requests that the candidate is worse at.

    The candidate failed `hits` requests so many `times` each, and the stable never. A request that two versions fail
    with the same probability q comes to that by a coincidence: in q(1 - q) of the times, a quarter at most, and so
    often in a row in 0.25^times at most.
    """
    coincidence = 0.25**times
    return max((at_least(hits, of, alpha=alpha) - coincidence) / (1 - coincidence), 0.0)


def excess_at_least(worse: int, better: int, of: int, *, alpha: float) -> float:
    """Return a lower bound of the candidate's failure share above the stable's, of requests that both were asked.

    `worse` are those that the candidate alone has failed, `better` those that the stable alone has. Were an excess the
    true one, a bet on each request that the candidate alone fails it would be fair. So capital above 1/alpha has a
    probability of alpha at most, and an excess at which the bets come to that is too low (as in `betting.py`).
    """
    from scipy.optimize import brentq  # It takes 0.3 s to import, which a restarted worker has not to spare.

    def contradicted(excess: float) -> float:
        stakes = STAKES / (1 + excess)
        capital = (
            worse * np.log1p(stakes * (1 - excess))
            + better * np.log1p(-stakes * (1 + excess))
            + (of - worse - better) * np.log1p(-stakes * excess)
        )
        return log_mean(capital) + math.log(alpha)

    return float(brentq(contradicted, 0.0, 1.0)) if contradicted(0.0) > 0 else 0.0
