"""Judges a candidate, metric by metric: pure, the same verdict for the same looks in the same order.

Harm is evidence *and* an observed excess over the threshold, so that neither noise nor a tiny significant difference
rolls a good version back. A pass needs a minimum of good answers from both arms: neither errors nor no data are ever a
pass. When to judge, and what becomes of the verdict, is decided elsewhere (`activities/analysis.py`,
`domain/policy.py`).
"""

from collections.abc import Mapping
from dataclasses import replace

from scipy.special import betaincinv

from hotswap.analysis.evidence import ALPHA, HARM, log_evidence
from hotswap.domain.analysis import AnalysisPolicy, Look, Metric, NoVerdict, Source
from hotswap.domain.traffic import FULL, Counts
from hotswap.domain.verdict import ArmFigures, MetricResult, Outcome, Reason, Verdict

LATENCY_FLOOR_MS = 1.0
"""A slowdown below this is the machine's noise on a fast model, not harm, whatever its ratio."""

_SEVERITY = (Outcome.HARM, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.INSUFFICIENT_DATA, Outcome.PASS)
_STRICTEST = (NoVerdict.ROLLBACK, NoVerdict.HOLD, NoVerdict.EXTEND)


class Judging:
    """Implements `hotswap.ports.Judging`."""

    def __init__(
        self, policy: AnalysisPolicy, *, weight: int, reference: Counts | None, prior_evidence: Mapping[str, float]
    ) -> None:
        self._policy = policy
        self._weight = weight
        self._reference = reference
        self._prior = dict(prior_evidence)
        self._last: Look | None = None

    def add(self, look: Look) -> None:
        if self._last is None or look.at > self._last.at:
            self._last = look

    def verdict(self, *, is_over: bool = False) -> Verdict:
        if self._last is None:
            return Verdict(Outcome.INCONCLUSIVE, "nothing was seen yet", evidence=self._prior)
        mine, theirs = self._last.candidate, self._last.stable if self._reference is None else self._reference
        judges = {Source.ERRORS: self._errors, Source.LATENCY: self._latency}
        metrics = tuple(
            judges[metric.source](metric, mine, theirs) for metric in self._policy.metrics if metric.source in judges
        )
        verdict = combined(metrics, candidate=figures(mine), stable=figures(theirs))
        return replace(verdict, early=verdict.early and self._policy.promote_early)

    def _errors(self, metric: Metric, candidate: Counts, stable: Counts) -> MetricResult:
        mine, theirs = figures(candidate), figures(stable)
        evidence = self._prior.get(metric.name, 0.0) + _error_evidence(
            mine, theirs, weight=self._weight, side_by_side=self._reference is None
        )
        numbers = (
            f"candidate {mine.errors} of {mine.requests} failed ({mine.error_rate:.2%}), "
            f"stable {theirs.errors} of {theirs.requests} ({theirs.error_rate:.2%}), log-evidence {evidence:.1f}"
        )
        excess = mine.error_rate - theirs.error_rate
        # Requests that failed don't count: in an outage both arms fail alike, which says nothing of either.
        if evidence >= HARM and excess > metric.threshold:
            outcome, reason = Outcome.HARM, Reason.ERROR_RATE
            message = (
                f"error rate is {excess:.2%} above the stable's, over the threshold {metric.threshold:.2%}: {numbers}"
            )
        elif min(candidate.good, stable.good) < metric.samples:
            outcome, reason = Outcome.INSUFFICIENT_DATA, None
            message = f"fewer than {metric.samples} good answers from an arm: {numbers}"
        else:
            outcome, reason, message = Outcome.PASS, None, numbers
        return _result(metric, outcome, message, reason=reason, evidence=evidence)

    def _latency(self, metric: Metric, candidate: Counts, stable: Counts) -> MetricResult:
        if min(candidate.good, stable.good) < metric.samples:
            return _result(metric, Outcome.INSUFFICIENT_DATA, f"fewer than {metric.samples} good answers from an arm")
        if slower := _slowdown(candidate, stable, figures(candidate), figures(stable), metric.threshold):
            return _result(metric, Outcome.HARM, slower, reason=Reason.LATENCY)
        return _result(metric, Outcome.PASS, "no slower than the threshold")


def combined(metrics: tuple[MetricResult, ...], *, candidate: ArmFigures, stable: ArmFigures) -> Verdict:
    """Harm of any metric is harm; else the worst that a required one came to, and nothing judged is no pass."""
    counted = [each for each in metrics if each.required or each.outcome in (Outcome.HARM, Outcome.PASS)]
    if not counted:
        outcome, told = Outcome.INSUFFICIENT_DATA, list(metrics)
    else:
        outcome = min((each.outcome for each in counted), key=_SEVERITY.index)
        told = [each for each in counted if each.outcome is outcome]
    return Verdict(
        outcome,
        "; ".join(each.message for each in told) or "no metric is judged",
        next((each.reason for each in told if each.reason is not None), None),
        candidate=candidate,
        stable=stable,
        metrics=metrics,
        evidence={each.name: each.log_evidence for each in metrics},
        action=min((each.on_no_verdict for each in told), key=_STRICTEST.index, default=NoVerdict.EXTEND),
        early=outcome is Outcome.PASS and all(each.early for each in counted),
    )


def _result(
    metric: Metric, outcome: Outcome, message: str, *, reason: Reason | None = None, evidence: float = 0.0
) -> MetricResult:
    return MetricResult(
        metric.name,
        metric.judge,
        outcome,
        message,
        reason=reason,
        required=metric.required,
        on_no_verdict=metric.on_no_verdict,
        log_evidence=evidence,
    )


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


def _slowdown(candidate: Counts, stable: Counts, mine: ArmFigures, theirs: ArmFigures, threshold: float) -> str | None:
    """What is wrong with the candidate's latency, or None: its median over the stable's, and evidence for it."""
    if mine.latency_p50_ms is None or theirs.latency_p50_ms is None:
        return None
    limit = threshold * theirs.latency_p50_ms
    if mine.latency_p50_ms <= limit or mine.latency_p50_ms - theirs.latency_p50_ms < LATENCY_FLOOR_MS:
        return None
    slow = sum(count for bound, count in candidate.latency.items() if float(bound) / 1000 > limit)
    quick = sum(candidate.latency.values()) - slow
    if log_evidence(slow, quick, share=0.5) < HARM:
        return None
    return (
        f"median latency {mine.latency_p50_ms:.1f} ms is {mine.latency_p50_ms / theirs.latency_p50_ms:.2f} times the "
        f"stable's {theirs.latency_p50_ms:.1f} ms, over the threshold {threshold:g}"
    )
