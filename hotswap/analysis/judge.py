"""Judges a candidate on counts: pure, stateless, the same answer for the same counts.

Harm is evidence *and* an observed excess over the threshold, so that neither noise nor a tiny significant difference
rolls a good version back. A pass needs a minimum of good answers from both arms: neither errors nor no data are ever a
pass. When to judge, and what becomes of the verdict, is decided elsewhere (`activities/analysis.py`,
`domain/policy.py`).
"""

from scipy.special import betaincinv

from hotswap.analysis.evidence import ALPHA, HARM, log_evidence
from hotswap.domain.strategy import Thresholds
from hotswap.domain.traffic import FULL, Counts
from hotswap.domain.verdict import ArmFigures, Outcome, Reason, Verdict

LATENCY_FLOOR_MS = 1.0
"""A slowdown below this is the machine's noise on a fast model, not harm, whatever its ratio."""


def judge(
    *,
    candidate: Counts,
    stable: Counts,
    weight: int,
    reference: Counts | None,
    prior_log_evidence: float,
    minimum_requests: int,
    thresholds: Thresholds,
) -> Verdict:
    """Judge one step so far: Pass, Harm or InsufficientData.

    `candidate` and `stable` are the step's own counts. Where nothing runs beside the candidate, `reference` holds the
    stable's earlier counts, and takes the stable's place. `prior_log_evidence` is what the earlier steps had gathered.
    """
    beside = stable if reference is None else reference
    mine, theirs = figures(candidate), figures(beside)
    evidence = prior_log_evidence + _error_evidence(mine, theirs, weight=weight, side_by_side=reference is None)
    numbers = (
        f"candidate {mine.errors} of {mine.requests} failed ({mine.error_rate:.2%}), "
        f"stable {theirs.errors} of {theirs.requests} ({theirs.error_rate:.2%}), log-evidence {evidence:.1f}"
    )

    def verdict(outcome: Outcome, message: str, reason: Reason | None = None) -> Verdict:
        return Verdict(outcome, message, reason, candidate=mine, stable=theirs, log_evidence=evidence)

    excess = mine.error_rate - theirs.error_rate
    if evidence >= HARM and excess > thresholds.error_rate_increase:
        return verdict(
            Outcome.HARM,
            f"error rate is {excess:.2%} above the stable's, over the threshold {thresholds.error_rate_increase:.2%}: "
            + numbers,
            Reason.ERROR_RATE,
        )
    # Requests that failed don't count: in an outage both arms fail alike, which says nothing of either.
    fewest = min(candidate.good, beside.good)
    if fewest < minimum_requests:
        return verdict(Outcome.INSUFFICIENT_DATA, f"fewer than {minimum_requests} good answers from an arm: {numbers}")
    if slower := _slowdown(candidate, beside, mine, theirs, thresholds):
        return verdict(Outcome.HARM, f"{slower}; {numbers}", Reason.LATENCY)
    return verdict(Outcome.PASS, numbers)


def figures(counts: Counts) -> ArmFigures:
    return ArmFigures(
        requests=counts.completed,
        errors=counts.server_errors,
        latency_p50_ms=quantile_ms(counts, 0.5),
        latency_p95_ms=quantile_ms(counts, 0.95),
    )


def quantile_ms(counts: Counts, q: float) -> float | None:
    """The upper bound, in milliseconds, of the bucket that holds the q-quantile; None without an answer."""
    total = sum(counts.latency.values())
    seen = 0
    for bound, count in sorted((float(bound), count) for bound, count in counts.latency.items()):
        seen += count
        if seen >= q * total:
            return bound / 1000
    return None


def _error_evidence(mine: ArmFigures, theirs: ArmFigures, *, weight: int, side_by_side: bool) -> float:
    if side_by_side:
        if not 0 < weight < FULL:
            return 0.0
        return log_evidence(mine.errors, theirs.errors, share=weight / FULL)
    if theirs.requests == 0:
        return 0.0
    # The rate that the stable surely didn't exceed (Clopper-Pearson), so that its own luck isn't held against the
    # candidate.
    worst = float(betaincinv(theirs.errors + 1, theirs.requests - theirs.errors, 1 - ALPHA))
    if not 0 < worst < 1:
        return 0.0
    return log_evidence(mine.errors, mine.requests - mine.errors, share=worst)


def _slowdown(
    candidate: Counts, stable: Counts, mine: ArmFigures, theirs: ArmFigures, thresholds: Thresholds
) -> str | None:
    """What is wrong with the candidate's latency, or None: its median over the stable's, and evidence for it."""
    if mine.latency_p50_ms is None or theirs.latency_p50_ms is None:
        return None
    limit = thresholds.latency_increase * theirs.latency_p50_ms
    if mine.latency_p50_ms <= limit or mine.latency_p50_ms - theirs.latency_p50_ms < LATENCY_FLOOR_MS:
        return None
    slow = sum(count for bound, count in candidate.latency.items() if float(bound) / 1000 > limit)
    quick = sum(candidate.latency.values()) - slow
    if log_evidence(slow, quick, share=0.5) < HARM:
        return None
    return (
        f"median latency {mine.latency_p50_ms:.1f} ms is {mine.latency_p50_ms / theirs.latency_p50_ms:.2f} times the "
        f"stable's {theirs.latency_p50_ms:.1f} ms, over the threshold {thresholds.latency_increase:g}"
    )
