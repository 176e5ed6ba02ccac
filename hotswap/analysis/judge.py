"""Judges a candidate, metric by metric: pure, the same verdict for the same looks in the same order.

Harm is evidence *and* an observed excess over the threshold, so that neither noise nor a tiny significant difference
rolls a good version back; an excess that lacks evidence is no pass either. A pass needs a minimum of good answers from
both arms: neither errors nor no data are ever one. When to judge, and what becomes of the verdict, is decided elsewhere
(`activities/analysis.py`, `domain/policy.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from hotswap.analysis.collapse import CollapseJudge
from hotswap.analysis.errors import ErrorsJudge
from hotswap.analysis.family import alpha_of, combined
from hotswap.analysis.figures import MetricJudge, Setting, figures
from hotswap.analysis.kayenta import KayentaJudge
from hotswap.analysis.latency import QuantileJudge
from hotswap.analysis.means import MeanJudge
from hotswap.analysis.ratio import mismatch
from hotswap.analysis.threshold import ThresholdJudge
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Look, Metric, NoVerdict
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import Outcome, Reason, Verdict

_JUDGES: dict[JudgeName, Callable[[Metric, Setting], MetricJudge]] = {
    JudgeName.BETA_MIXTURE: ErrorsJudge,
    JudgeName.QUANTILE: QuantileJudge,
    JudgeName.MEAN: MeanJudge,
    JudgeName.THRESHOLD: ThresholdJudge,
    JudgeName.KAYENTA: KayentaJudge,
    JudgeName.COLLAPSE: CollapseJudge,
}


class Judging:
    """Implements `hotswap.ports.Judging`."""

    def __init__(
        self, policy: AnalysisPolicy, *, weight: int, reference: Counts | None, prior_evidence: Mapping[str, float]
    ) -> None:
        self._policy = policy
        self._prior = dict(prior_evidence)
        self._setting = Setting(
            weight, reference, policy.alpha, early=policy.promote_early, minimum_callers=policy.minimum_callers
        )
        self._metrics = [self._judge(metric) for metric in policy.metrics]
        self._last: Look | None = None

    def add(self, look: Look) -> None:
        if self._last is not None and look.at <= self._last.at:
            return
        self._last = look
        for metric in self._metrics:
            metric.add(look)

    def verdict(self, *, is_over: bool = False) -> Verdict:
        if self._last is None:
            return Verdict(Outcome.INCONCLUSIVE, "nothing was seen yet", evidence=self._prior)
        verdict = combined(
            tuple(metric.result(is_over=is_over) for metric in self._metrics),
            candidate=figures(self._last.candidate),
            stable=figures(self._setting.stable(self._last)),
        )
        verdict = replace(verdict, early=verdict.early and self._policy.promote_early)
        wrong = mismatch(self._last, self._setting) if self._policy.sample_ratio else None
        if wrong is None or verdict.outcome is Outcome.HARM:
            return verdict
        action = NoVerdict.ROLLBACK if verdict.action is NoVerdict.ROLLBACK else NoVerdict.HOLD
        return replace(
            verdict,
            outcome=Outcome.INCONCLUSIVE,
            message=wrong,
            reason=Reason.SAMPLE_RATIO,
            action=action,
            early=False,
        )

    def _judge(self, metric: Metric) -> MetricJudge:
        alpha, prior = alpha_of(metric, self._policy), self._prior.get(metric.name, 0.0)
        return _JUDGES[metric.judge](metric, replace(self._setting, alpha=alpha, prior=prior))
