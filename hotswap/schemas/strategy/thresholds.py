"""`rollbackThresholds` of a `strategyConfig`, and the metrics that judge by them."""

from pydantic import Field

from hotswap.domain.analysis import JudgeName, Metric, NoVerdict, Source, Worse
from hotswap.schemas.base import Message
from hotswap.schemas.fields import Number
from hotswap.schemas.strategy.analysis import DRIFT_SAMPLES, LABEL_SHIFT, refusals

ACCURACY_DROP = 0.05
DRIFT = 0.3
TAIL = 0.95


class RollbackThresholds(Message):
    """Thresholds of harm. Errors, refusals, and the median and the tail of latency are always judged.

    Accuracy and drift need data that not everybody has. By default they roll back as well, but if there is no data
    they hold nothing up unless their threshold is given.
    """

    accuracy_drop: Number | None = Field(None, ge=0, le=1, description="a share of the stable's accuracy; absent: 0.05")
    latency_increase: Number = Field(1.5, ge=1, description="ratio of the medians")
    tail_increase: Number = Field(2.0, ge=1, description="ratio of the 95th percentiles of latency")
    error_rate_increase: Number = Field(
        0.01, ge=0, le=1, description="absolute: one more failure in a hundred requests"
    )
    refusal_increase: Number = Field(
        0.01, ge=0, le=1, description="absolute: one more request in a hundred answered with 4xx"
    )
    collapse: Number = Field(
        0.3, ge=0, le=1, description="absolute: how much more of all answers may be alike; above it a person decides"
    )
    label_shift: Number = Field(
        LABEL_SHIFT,
        ge=0,
        le=1,
        description="absolute: how much more of all answers may have one label; above it a person decides",
    )
    drift: Number | None = Field(None, ge=0, description="PSI or KS distance of a feature; absent: 0.3")

    def metrics(self, *, minimum_requests: int) -> tuple[Metric, ...]:
        """Return the metrics. Errors get most of the error probability, as nothing else is noticed as soon."""
        return (
            Metric(
                "errors",
                Source.ERRORS,
                JudgeName.BETA_MIXTURE,
                threshold=self.error_rate_increase,
                samples=minimum_requests,
                share=3.0,
            ),
            refusals(threshold=self.refusal_increase, minimum_requests=minimum_requests),
            Metric(
                "latency",
                Source.LATENCY,
                JudgeName.QUANTILE,
                threshold=self.latency_increase,
                samples=minimum_requests,
            ),
            Metric(
                "tail",
                Source.LATENCY,
                JudgeName.QUANTILE,
                threshold=self.tail_increase,
                quantile=TAIL,
                samples=minimum_requests,
            ),
            Metric(
                "accuracy",
                Source.ACCURACY,
                JudgeName.MEAN,
                threshold=ACCURACY_DROP if self.accuracy_drop is None else self.accuracy_drop,
                worse=Worse.LOWER,
                relative=True,
                samples=minimum_requests,
                interval_seconds=2.0,
                required=self.accuracy_drop is not None,
            ),
            Metric(
                "predictions",
                Source.ANSWERS,
                JudgeName.COLLAPSE,
                threshold=self.collapse,
                label_shift=self.label_shift,
                samples=minimum_requests,
                interval_seconds=10.0,
                required=False,
                rolls_back=False,
                on_no_verdict=NoVerdict.HOLD,
            ),
            Metric(
                "drift",
                Source.DRIFT,
                JudgeName.THRESHOLD,
                maximum=DRIFT if self.drift is None else self.drift,
                samples=max(minimum_requests, DRIFT_SAMPLES),
                interval_seconds=60.0,
                timeout_seconds=30.0,
                required=self.drift is not None,
            ),
        )
