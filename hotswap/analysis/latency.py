"""The judge of latency: a quantile over its threshold, with evidence by lumps that the candidate is slower.

The evidence (`betting.py`) is on the share of answers slower than a bound, which is whichever of a grid set the arms
apart before. It holds for any distribution and for load that both arms feel, but not for callers that keep their arm:
one who asks for much that takes long makes an arm slow in every lump. Where there are such callers, each counts once
(`hotswap.ports.StickyCallers`), and harm needs both: evidence that it lasts, and evidence that slow answers fall on the
candidate's callers more often than its share. Then the quantiles are of the callers too, by the time in the replica.

Few callers differ by who they are: of fifteen one is more than 5%, so the p95 of an arm is its slowest caller's. What
they differ by was so before: so their answers are compared as multiples of what each caller took at the stable before
this step as well, which leaves the version's part of the difference (the values from before an experiment: Deng, Xu,
Kohavi and Walker, WSDM 2013; here as a ratio, since latencies multiply). An excess that isn't one of these is none.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from hotswap.analysis.concurrent import ConcurrentJudge
from hotswap.analysis.evidence import log_evidence, log_mean
from hotswap.analysis.figures import MetricJudge, Outlook, Setting, result, too_few
from hotswap.analysis.lumps import Lumps, slower_than
from hotswap.analysis.quantiles import limit_ms, quantiles
from hotswap.domain.analysis import Entities, Metric, Observation
from hotswap.domain.traffic import quantile_of
from hotswap.domain.verdict import MetricResult, Outcome

ALL_BUT = 0.99
"""The share of an arm's latencies that must be of callers, so that these are compared with their past."""


def latency_judge(metric: Metric, setting: Setting) -> MetricJudge:
    """Return the judge: it compares clients' latencies or, with nothing beside the candidate, the reference's."""
    return QuantileJudge(metric, setting) if setting.share is not None else ConcurrentJudge(metric, setting)


class QuantileJudge:
    """Judges where both arms have traffic."""

    KEPT: ClassVar[Mapping[str, Any]] = {
        "_lumps": Lumps,
        "_look": Observation | None,
        "_begun_at": float,
        "_entities": Entities | None,
    }

    def __init__(self, metric: Metric, setting: Setting) -> None:
        self._metric = metric
        self._setting = setting
        self._lumps = Lumps()
        self._look: Observation | None = None
        self._begun_at = 0.0
        self._entities: Entities | None = None

    def add(self, observation: Observation) -> None:
        self._begun_at = observation.at if self._look is None else self._begun_at
        self._look = observation
        self._entities = observation.entities or self._entities
        self._lumps.add(observation.candidate.latency, observation.stable.latency)

    def result(self, *, is_over: bool) -> MetricResult:
        assert self._look is not None
        metric, candidate, stable = self._metric, self._look.candidate, self._look.stable
        callers = self._by_callers()
        lasting = self._setting.prior + self._lumps.log_evidence
        # Callers were at the candidate in the steps before as well, so theirs is this step's evidence alone.
        evidence = lasting if callers is None else min(lasting, self._evidence(*callers))
        mine, theirs = callers or (candidate.latency, stable.latency)
        seen = quantiles(metric, mine, theirs, alpha=self._setting.alpha)
        if seen is None or min(candidate.good, stable.good) < metric.samples:
            lacking = f"fewer than {metric.samples} good answers from an arm"
            return result(metric, Outcome.INSUFFICIENT_DATA, lacking, evidence=evidence)
        needed = -math.log(self._setting.alpha)
        told, numbers = f"{seen.told}, log-evidence {evidence:.1f} of {needed:.1f}", seen.numbers
        is_slower = seen.is_slower
        if is_slower and callers is not None and (usual := self._usual(seen.candidate_ms)) is not None:
            is_slower = seen.candidate_ms > limit_ms(metric, usual)
            numbers = {**numbers, "expected_ms": usual}
            told = f"{told}; by what each of its callers took at the stable before it would be {usual:.1f} ms"
        if not is_slower:
            return result(metric, Outcome.PASS, told, numbers=numbers, evidence=evidence, early=seen.is_shown_fast)
        outcome = Outcome.INCONCLUSIVE
        if callers is None and self._are_sticky:
            told = f"{told}; callers that keep their arm are not counted yet, and before that nothing is harm"
        elif evidence >= needed:
            known = sum(callers[0].values()) if callers is not None else None
            few = too_few(known, self._setting)
            outcome, told = (Outcome.HARM, told) if few is None else (Outcome.INCONCLUSIVE, f"{few}: {told}")
        else:
            seconds = self._look.at - self._begun_at
            prior = self._setting.prior if callers is None else 0.0
            outlook = Outlook(evidence, prior, needed, candidate.completed, seconds)
            numbers = numbers | outlook.numbers
            told = f"{told}; {outlook.told}"
        return result(metric, outcome, told, numbers=numbers, evidence=evidence)

    @property
    def _are_sticky(self) -> bool:
        assert self._look is not None
        return self._look.candidate.sticky + self._look.stable.sticky > 0

    def _by_callers(self) -> tuple[Mapping[str, float], Mapping[str, float]] | None:
        """Return both arms' answers with each caller once; None where there is no caller, or none was counted yet."""
        seen = self._entities
        if not self._are_sticky or seen is None:
            return None
        return (seen.candidate_latency, seen.stable_latency) if seen.candidate_latency or seen.stable_latency else None

    def _usual(self, mine: float) -> float | None:
        """Return the candidate's quantile if its callers differed from their past as the stable's callers do.

        Return None where that isn't known, or where others than callers ask as well: of those nothing is known from
        before.
        """
        seen, quantile = self._entities, self._metric.quantile
        assert seen is not None
        arms = (seen.candidate_relative, seen.candidate_latency), (seen.stable_relative, seen.stable_latency)
        if any(sum(relative.values()) < ALL_BUT * sum(latency.values()) for relative, latency in arms):
            return None
        here, there = (quantile_of(relative, quantile) for relative, _ in arms)
        return mine * there / here if here and there else None

    def _evidence(self, candidate: Mapping[str, float], stable: Mapping[str, float]) -> float:
        """Return the evidence that slow answers fall on the candidate's callers beyond its share.

        It is the mean over the bounds, which are chosen by both arms together, so the choice says nothing about either.
        """
        assert self._setting.share is not None
        slower = np.stack([slower_than(candidate), slower_than(stable)])
        together = slower.sum(axis=0)
        asked = np.flatnonzero((together[1:] > 0.02 * together[0]) & (together[1:] < 0.98 * together[0])) + 1
        return log_mean(log_evidence(slower[0, asked], slower[1, asked], share=self._setting.share))
