"""Many metrics, one verdict: the error probability is divided among them, and the worst of them counts."""

from collections.abc import Mapping

from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, NoVerdict
from hotswap.domain.verdict import ArmFigures, MetricResult, Outcome, Verdict

ALWAYS_VALID = frozenset(
    {JudgeName.BETA_MIXTURE, JudgeName.QUANTILE, JudgeName.MEAN, JudgeName.COLLAPSE, JudgeName.LIMIT}
)

_SEVERITY = (Outcome.HARM, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.INSUFFICIENT_DATA, Outcome.PASS)
_STRICTEST = (NoVerdict.ROLLBACK, NoVerdict.HOLD, NoVerdict.EXTEND)


def alpha_of(metric: Metric, policy: AnalysisPolicy) -> float:
    """Return the metric's part of alpha: by Bonferroni, in proportion to `share`.

    It is divided over the metrics that could roll a good candidate back by chance.
    """
    risky = [each for each in policy.metrics if each.rolls_back and each.judge in ALWAYS_VALID]
    if metric not in risky:
        return policy.alpha
    return policy.alpha * metric.share / sum(each.share for each in risky)


def prior_parts(metric: Metric, prior: Mapping[str, float]) -> dict[str, float]:
    """Return what earlier steps have shown of each part of a metric, by the part's name."""
    mark = f"{metric.name}."
    return {name.removeprefix(mark): found for name, found in prior.items() if name.startswith(mark)}


def _evidence(of: MetricResult) -> dict[str, float]:
    return {of.name: of.log_evidence} | {f"{of.name}.{part}": found for part, found in of.parts.items()}


def combined(metrics: tuple[MetricResult, ...], *, candidate: ArmFigures, stable: ArmFigures) -> Verdict:
    """Combine the metrics: harm of any is harm, otherwise the worst of the required ones; nothing judged is no pass."""
    counted = [each for each in metrics if each.required or each.outcome in (Outcome.HARM, Outcome.PASS)]
    if not counted:
        outcome, told = Outcome.INSUFFICIENT_DATA, list(metrics)
    else:
        outcome = min((each.outcome for each in counted), key=_SEVERITY.index)
        told = [each for each in counted if each.outcome is outcome]
    action = min((each.on_no_verdict for each in told), key=_STRICTEST.index, default=NoVerdict.EXTEND)
    return Verdict(
        outcome,
        "; ".join(each.message for each in told) or "no metric is judged",
        next((each.reason for each in told if each.reason is not None), None),
        candidate=candidate,
        stable=stable,
        metrics=metrics,
        evidence={name: found for each in metrics for name, found in _evidence(each).items()},
        action=action,
        early=outcome is Outcome.PASS and all(each.early for each in counted),
        is_chance=outcome is Outcome.INCONCLUSIVE
        and all(each.is_chance or each.outcome is Outcome.PASS for each in counted),
        extends=action is NoVerdict.HOLD and all(each.extends for each in told if each.on_no_verdict is action),
    )
