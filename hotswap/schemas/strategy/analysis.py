"""`strategyConfig.analysis` as people write it, and the policy that follows from it."""

import string
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from hotswap.domain.analysis import (
    LATENCY_FLOOR_MS,
    MINIMUM_CALLERS,
    AnalysisPolicy,
    JudgeName,
    Metric,
    NoVerdict,
    Source,
    Worse,
)
from hotswap.domain.concurrent import ReferenceBudget
from hotswap.schemas.base import Message
from hotswap.schemas.fields import Duration, Flag, Number, Whole

MetricName = Annotated[str, Field(pattern=r"^[a-z][a-zA-Z0-9_-]{0,62}$")]

_OF_SOURCE = {
    Source.ERRORS: (JudgeName.BETA_MIXTURE, JudgeName.THRESHOLD, JudgeName.KAYENTA),
    Source.REFUSALS: (JudgeName.BETA_MIXTURE, JudgeName.THRESHOLD, JudgeName.KAYENTA),
    Source.LATENCY: (JudgeName.QUANTILE, JudgeName.THRESHOLD, JudgeName.KAYENTA),
    Source.CONFIDENCE: (JudgeName.MEAN, JudgeName.THRESHOLD),
    Source.PREDICTION: (JudgeName.MEAN, JudgeName.THRESHOLD),
    Source.ANSWERS: (JudgeName.COLLAPSE,),
    Source.ACCURACY: (JudgeName.MEAN, JudgeName.THRESHOLD),
    Source.DRIFT: (JudgeName.THRESHOLD,),
    Source.PROMETHEUS: (JudgeName.THRESHOLD, JudgeName.KAYENTA),
    Source.WEBHOOK: (JudgeName.THRESHOLD,),
}
"""The judges that understand a source's figures; the first one is the default."""

DRIFT_SAMPLES = 200
"""Chance alone sets fewer values of many features further apart than a rollback's threshold."""

LABEL_SHIFT = 0.1
"""One label may be a tenth more of all answers, which a person is asked about: see docs/analysis.md."""

_THRESHOLDS = {
    JudgeName.BETA_MIXTURE: 0.01,
    JudgeName.QUANTILE: 1.5,
    JudgeName.MEAN: 0.05,
    JudgeName.KAYENTA: 1.0,
    JudgeName.COLLAPSE: 0.3,
}

PLACEHOLDERS = frozenset({"candidate", "stable", "model", "environment", "candidateVersion", "stableVersion", "window"})


def refusals(*, threshold: float, minimum_requests: int) -> Metric:
    """Return the metric of requests that a candidate refuses with 4xx."""
    return Metric("refusals", Source.REFUSALS, JudgeName.BETA_MIXTURE, threshold=threshold, samples=minimum_requests)


class MetricConfig(Message):
    """One metric of `analysis.metrics`. Source and judge decide the defaults of fields that are left out.

    `threshold` is the excess beyond which evidence is harm: `betaMixture` failures per request (0.01), `quantile` a
    ratio (1.5), `mean` a difference, or a share of the stable's mean when `relative` (0.05), `collapse` a part of all
    answers (0.3; of labels `labelShift`, 0.1), `kayenta` a ratio of means (1.0). The judge `threshold` has `max` and
    `min` instead, of the value, or of its ratio to the stable's when `relative`.
    """

    name: MetricName
    source: Source
    judge: JudgeName | None = None
    threshold: Number | None = Field(None, ge=0)
    label_shift: Number | None = Field(None, ge=0, le=1, description="the threshold for labels of the judge `collapse`")
    worse: Worse | None = Field(None, description="the direction that is worse; `lower` for accuracy and confidence")
    relative: Flag = False
    quantile: Number = Field(0.5, ge=0.5, le=0.999)
    bounds: tuple[Number, Number] = (0.0, 1.0)
    minimum: Number | None = Field(None, alias="min")
    maximum: Number | None = Field(None, alias="max")
    failures: Whole = Field(1, ge=1, le=100, description="how many readings in a row must breach to be harm")
    samples: Whole | None = Field(
        None, ge=1, description="the fewest of each arm; absent: `minimumRequests`, and for drift at least 200"
    )
    query: str | None = Field(None, max_length=4_000, description="PromQL; `${candidate}` and `${stable}` are replaced")
    webhook: str | None = Field(None, description="the name of a webhook in the settings")
    interval: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(hours=1))] = timedelta(seconds=5)
    timeout: Annotated[Duration, Field(gt=timedelta(0), le=timedelta(minutes=1))] = timedelta(seconds=5)
    required: Flag = True
    rolls_back: Flag = True
    on_no_verdict: NoVerdict = NoVerdict.EXTEND

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        judges = _OF_SOURCE[self.source]
        if self.judge is not None and self.judge not in judges:
            known = ", ".join(judges)
            raise ValueError(f"judge {self.judge} can't judge {self.source}; that is judged by {known}")
        judge = self.judge or judges[0]
        if judge is JudgeName.THRESHOLD and self.source is not Source.WEBHOOK:
            if self.minimum is None and self.maximum is None:
                raise ValueError("judge threshold needs min or max")
        elif self.minimum is not None or self.maximum is not None:
            raise ValueError(f"min and max are only for the judge threshold; {judge} has `threshold`")
        if self.label_shift is not None and judge is not JudgeName.COLLAPSE:
            raise ValueError(f"labelShift is only for the judge collapse; {judge} knows no labels")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds {list(self.bounds)} must be two numbers, the smaller one first")
        if (self.query is not None) != (self.source is Source.PROMETHEUS):
            raise ValueError("query is required for source prometheus, and not allowed for others")
        if (self.webhook is not None) != (self.source is Source.WEBHOOK):
            raise ValueError("webhook is required for source webhook, and not allowed for others")
        self._check_placeholders()
        return self

    def _check_placeholders(self) -> None:
        template = string.Template(self.query or "")
        if not template.is_valid():
            raise ValueError("query has a `$` that begins no ${placeholder}; write `$$` for the character `$`")
        if unknown := set(template.get_identifiers()) - PLACEHOLDERS:
            raise ValueError(f"query has ${{{min(unknown)}}}; known are {', '.join(sorted(PLACEHOLDERS))}")

    def metric(self, *, minimum_requests: int) -> Metric:
        judge = self.judge or _OF_SOURCE[self.source][0]
        lower_is_worse = self.source in {Source.ACCURACY, Source.CONFIDENCE}
        least = max(minimum_requests, DRIFT_SAMPLES) if self.source is Source.DRIFT else minimum_requests
        label_shift = self.label_shift
        if label_shift is None and judge is JudgeName.COLLAPSE and self.threshold is None:
            label_shift = LABEL_SHIFT
        return Metric(
            name=self.name,
            source=self.source,
            judge=judge,
            threshold=self.threshold if self.threshold is not None else _THRESHOLDS.get(judge, 0.0),
            worse=self.worse or (Worse.LOWER if lower_is_worse else Worse.HIGHER),
            relative=self.relative,
            quantile=self.quantile,
            bounds=self.bounds,
            minimum=self.minimum,
            maximum=self.maximum,
            failures=self.failures,
            samples=self.samples if self.samples is not None else least,
            query=self.query or self.webhook or "",
            interval_seconds=self.interval.total_seconds(),
            timeout_seconds=self.timeout.total_seconds(),
            required=self.required,
            rolls_back=self.rolls_back,
            on_no_verdict=self.on_no_verdict,
            label_shift=label_shift,
        )


class ReferenceConfig(Message):
    """Requests that both versions are sent again at 100%, to be compared over the same time."""

    share: Number = Field(
        ReferenceBudget().share, ge=0, le=0.1, description="at most this share of the clients' requests; 0: none"
    )
    per_second: Number = Field(
        ReferenceBudget().per_second, gt=0, le=50, description="at most so many requests a second"
    )

    def budget(self) -> ReferenceBudget:
        return ReferenceBudget(self.share, self.per_second)


class AnalysisConfig(Message):
    """The way a candidate is judged. Without `metrics` those of `rollbackThresholds` are judged.

    If `metrics` has `errors` by their own judge, refusals are judged as well, unless the list has them.
    """

    metrics: tuple[MetricConfig, ...] | None = Field(None, min_length=1, max_length=50)
    alpha: Number = Field(0.01, gt=0, le=0.2, description="how often a good candidate may be rolled back by chance")
    promote_early: Flag = False
    sample_ratio: Flag = Field(True, description="hold a rollout whose observed split contradicts the weight")
    minimum_callers: Whole = Field(
        MINIMUM_CALLERS, ge=1, description="the fewest callers at the candidate for harm, if callers are known"
    )
    latency_floor: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(minutes=1))] = Field(
        timedelta(milliseconds=LATENCY_FLOOR_MS), description="a smaller slowdown is no harm, whatever its ratio"
    )
    reference: ReferenceConfig = Field(
        ReferenceConfig(), description="requests that both versions are sent again at 100%, to compare their latency"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [metric.name for metric in self.metrics or ()]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two metrics are named {min(doubled)}")
        return self

    def policy(self, defaults: tuple[Metric, ...], *, minimum_requests: int) -> AnalysisPolicy:
        listed = defaults
        if self.metrics is not None:
            listed = tuple(each.metric(minimum_requests=minimum_requests) for each in self.metrics)
            judged = {(each.source, each.judge) for each in listed}
            sources = {source for source, _ in judged}
            if (Source.ERRORS, JudgeName.BETA_MIXTURE) in judged and Source.REFUSALS not in sources:
                threshold = _THRESHOLDS[JudgeName.BETA_MIXTURE]
                listed = (*listed, refusals(threshold=threshold, minimum_requests=minimum_requests))
        floor_ms = self.latency_floor / timedelta(milliseconds=1)
        listed = tuple(replace(metric, floor_ms=floor_ms) for metric in listed)
        return AnalysisPolicy(
            listed,
            self.alpha,
            self.promote_early,
            self.sample_ratio,
            self.minimum_callers,
            self.reference.budget(),
        )
