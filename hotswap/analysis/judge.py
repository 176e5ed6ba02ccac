"""Judges a candidate, metric by metric: pure, the same verdict for the same observations in the same order.

Harm is evidence *and* an observed excess over the threshold, so that neither noise nor a tiny significant difference
rolls a good version back; an excess that lacks evidence is no pass either. A pass needs a minimum of good answers from
both arms: neither errors nor no data are ever one. When to judge, and what becomes of the verdict, is decided elsewhere
(`activities/analysis.py`, `hotswap/domain/policy.py`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from hotswap.analysis.collapse import CollapseJudge
from hotswap.analysis.errors import ErrorsJudge, stable_is_down
from hotswap.analysis.family import alpha_of, combined, prior_parts
from hotswap.analysis.figures import MetricJudge, Setting, figures
from hotswap.analysis.folded import NotOurs, dump, fingerprint, load
from hotswap.analysis.kayenta import KayentaJudge
from hotswap.analysis.latency import latency_judge
from hotswap.analysis.limits import LimitJudge
from hotswap.analysis.means import MeanJudge
from hotswap.analysis.ratio import mismatch
from hotswap.analysis.threshold import ThresholdJudge
from hotswap.domain.analysis import AnalysisPolicy, JudgeName, Metric, NoVerdict, Observation, Source
from hotswap.domain.concurrent import Concurrent
from hotswap.domain.traffic import Counts
from hotswap.domain.verdict import ConcurrentFigures, MetricResult, Outcome, Reason, Verdict

_JUDGES: dict[JudgeName, Callable[[Metric, Setting], MetricJudge]] = {
    JudgeName.BETA_MIXTURE: ErrorsJudge,
    JudgeName.QUANTILE: latency_judge,
    JudgeName.MEAN: MeanJudge,
    JudgeName.THRESHOLD: ThresholdJudge,
    JudgeName.KAYENTA: KayentaJudge,
    JudgeName.COLLAPSE: CollapseJudge,
    JudgeName.LIMIT: LimitJudge,
}


class StepJudging:
    """Implements `hotswap.ports.Judging`."""

    KEPT: ClassVar[Mapping[str, Any]] = {"_last": Observation | None, "_concurrent": Concurrent | None}

    def __init__(
        self, policy: AnalysisPolicy, *, weight: int, reference: Counts | None, prior_evidence: Mapping[str, float]
    ) -> None:
        self._policy = policy
        self._prior = dict(prior_evidence)
        self._setting = Setting(
            weight, reference, policy.alpha, early=policy.promote_early, minimum_callers=policy.minimum_callers
        )
        self._mark = fingerprint(policy, weight, reference, self._prior)
        self._begin()

    def _begin(self) -> None:
        self._metrics = [self._judge(metric) for metric in self._policy.metrics]
        self._last: Observation | None = None
        self._concurrent: Concurrent | None = None

    @property
    def last(self) -> Observation | None:
        return self._last

    @property
    def concurrent(self) -> Concurrent | None:
        return self._concurrent

    def folded(self) -> bytes:
        return dump([self, *self._metrics], mark=self._mark)

    def resume(self, folded: bytes) -> bool:
        try:
            load(folded, [self, *self._metrics], mark=self._mark)
        except NotOurs:
            self._begin()
            return False
        return True

    def add(self, observation: Observation) -> None:
        if self._last is not None and observation.at <= self._last.at:
            return
        self._last = observation
        self._concurrent = observation.concurrent or self._concurrent
        for metric in self._metrics:
            metric.add(observation)

    def verdict(self, *, is_over: bool = False) -> Verdict:
        if self._last is None:
            return Verdict(Outcome.INCONCLUSIVE, "nothing was seen yet", evidence=self._prior)
        verdict, missing = self._judged(self._last, is_over=is_over), self._last.missing
        if not missing:
            return verdict
        told = f"{verdict.message}; judged without {', '.join(missing)}, of which nothing was heard lately"
        return replace(verdict, message=told, missing=missing)

    def _judged(self, last: Observation, *, is_over: bool) -> Verdict:
        stable = self._setting.stable(last)
        verdict = combined(
            self._comparable(tuple(metric.result(is_over=is_over) for metric in self._metrics), stable),
            candidate=figures(last.candidate),
            stable=figures(stable),
        )
        seen = self._concurrent
        verdict = replace(
            verdict,
            early=verdict.early and self._policy.promote_early,
            concurrent=None
            if seen is None
            else ConcurrentFigures(figures(seen.candidate), figures(seen.stable), seen.reason),
        )
        wrong = mismatch(last, self._setting) if self._policy.sample_ratio else None
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
            extends=False,
            is_chance=False,
        )

    def _comparable(self, results: tuple[MetricResult, ...], stable: Counts) -> tuple[MetricResult, ...]:
        """Leave out what needs a comparison where the stable is down: errors have shown which version is better."""
        assert self._last is not None
        judged = (each for each in self._policy.metrics if each.source is Source.ERRORS)
        samples = max((each.samples for each in judged), default=None)
        if samples is None:
            return results
        if not stable_is_down(self._last.candidate, stable, samples, alpha=self._policy.alpha):
            return results
        return tuple(
            replace(each, required=False) if each.outcome is Outcome.INSUFFICIENT_DATA else each for each in results
        )

    def _judge(self, metric: Metric) -> MetricJudge:
        alpha, prior = alpha_of(metric, self._policy), self._prior.get(metric.name, 0.0)
        setting = replace(self._setting, alpha=alpha, prior=prior, prior_parts=prior_parts(metric, self._prior))
        return _JUDGES[metric.judge](metric, setting)
