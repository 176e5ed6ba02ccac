"""Verdicts of the judges on a deployment's steps."""

from datetime import datetime

from pydantic import Field

from hotswap.schemas.responses.base import View


class ArmView(View):
    """The figures of an arm. `errors` are failures (5xx), `refused` are refusals as the client's mistake (4xx).

    `errorRate` is 0 to 1; latencies are null without a request.
    """

    requests: int = 0
    errors: int = 0
    refused: int = 0
    error_rate: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None


class ConcurrentView(View):
    """Both versions' answers to the same requests at 100%, sent past the proxies and counted in no other figure.

    `reason` says why no more requests were sent.
    """

    candidate: ArmView
    stable: ArmView
    reason: str | None = None


class MetricView(View):
    """The verdict on one metric, with the numbers it used. A metric that isn't `required` holds nothing up."""

    name: str
    judge: str
    outcome: str
    message: str
    required: bool = True
    numbers: dict[str, float] = Field(default_factory=dict)


class VerdictView(View):
    """The verdict on one step (counted from 1), the newest of each analysis.

    `outcome` is Pass, Harm, InsufficientData, Inconclusive or Error. `missingProxies` are those that were silent, so
    that the step was judged without them. `concurrent` is null below 100%.
    """

    step: int
    outcome: str
    reason: str | None
    message: str
    candidate: ArmView
    stable: ArmView
    concurrent: ConcurrentView | None = None
    metrics: list[MetricView] = Field(default_factory=list)
    judged_at: datetime | None
    missing_proxies: list[str] = Field(default_factory=list)
