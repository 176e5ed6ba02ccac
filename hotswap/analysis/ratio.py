"""Check that the observed split is the commanded one; if not, the arms didn't get comparable requests.

It is judged by an always-valid two-sided Beta mixture; only a share that is plainly off counts, since a slow arm's
answers always come a little later. Callers that keep their arm are one draw each, so their requests don't count.
"""

import math

from scipy.special import betaln

from hotswap.analysis.figures import Setting
from hotswap.domain.analysis import Observation

EVIDENCE = math.log(1_000)
OFF = 0.1
"""The deviation that counts, as a share of the smaller arm's share."""


def log_mismatch(hits: int, misses: int, *, share: float) -> float:
    """Return the natural logarithm of the e-value for 'the share isn't that'."""
    mixed = betaln(1 + hits, 1 + misses) - betaln(1, 1)
    return float(mixed - hits * math.log(share) - misses * math.log1p(-share))


def mismatch(observation: Observation, setting: Setting) -> str | None:
    """Return what is wrong with the split, or None."""
    share = setting.share
    if share is None:
        return None
    anonymous = (
        observation.candidate.completed - observation.candidate.sticky,
        observation.stable.completed - observation.stable.sticky,
    )
    split = {"requests": anonymous}
    if observation.entities is not None:
        split["callers"] = (observation.entities.candidate, observation.entities.stable)
    for what, (mine, theirs) in split.items():
        seen = max(mine, 0), max(theirs, 0)
        if not any(seen):
            continue
        observed = seen[0] / sum(seen)
        if abs(observed - share) > OFF * min(share, 1 - share) and log_mismatch(*seen, share=share) >= EVIDENCE:
            return f"{observed:.1%} of {sum(seen)} {what} came to the candidate, where its weight is {share:.1%}"
    return None
