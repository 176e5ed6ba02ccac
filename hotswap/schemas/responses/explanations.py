"""A past deployment: explained, and judged again."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.vocabulary import Environment
from hotswap.schemas.responses.backtest import BacktestView
from hotswap.schemas.responses.base import View
from hotswap.schemas.responses.verdicts import ArmView, ConcurrentView, MetricView


class HappeningKind(StrEnum):
    """The kind of event that a line of an explanation tells."""

    STATUS = "status"
    WEIGHT = "weight"
    BACKTEST = "backtest"
    ANALYSIS = "analysis"
    APPROVAL = "approval"
    WORD = "word"
    """An act of somebody: a request, a verb, a note."""


class RuledMetricView(MetricView):
    """A metric with the rule that it was judged by.

    `threshold`, `minimum` and `maximum` are the rule's as far as its judge has them; `logEvidence` is the natural
    logarithm of the evidence of harm so far, all steps before included.
    """

    reason: str | None = None
    threshold: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    log_evidence: float = 0.0


class AnalysisView(View):
    """One analysis of one step (counted from 1) at `weight` percent, as of its newest verdict.

    `ledTo` says what came of it; null while nothing has. `missingProxies` are those that were silent, so that it was
    judged without them. `concurrent` is null below 100%.
    """

    step: int
    weight: float
    begun_at: datetime
    judged_at: datetime
    outcome: str
    reason: str | None
    message: str
    candidate: ArmView
    stable: ArmView
    concurrent: ConcurrentView | None = None
    metrics: list[RuledMetricView]
    led_to: str | None
    missing_proxies: list[str] = Field(default_factory=list)


class HappeningView(View):
    """One thing that happened: what, by whom, and why. `weight` is the verified one, in percent."""

    at: datetime
    kind: HappeningKind
    actor: str
    what: str
    why: str | None = None
    weight: float | None = None
    analysis: AnalysisView | None = None
    backtest: BacktestView | None = None


class ExplanationView(View):
    """All that is on record of a deployment, in order of time, which explains its present state."""

    deployment_id: str
    model: str
    version: str
    previous_version: str | None
    environment: Environment
    status: DeploymentStatus
    reason: str | None
    message: str | None
    happenings: list[HappeningView]


class ReplayedStepView(View):
    """The end of one recorded analysis of a step (counted from 1) under the policy.

    `end` is Passed, Held, RolledBack, Failed, NotKnown or NotReached; `afterSeconds` is counted from the time its
    weight was verified. `outcome`, `reason` and `metrics` are those of the last verdict; `recorded` is the outcome that
    was recorded. If it is `thinned`, which happens to old analyses, one observation a minute is left, so the evidence
    may be weaker than it was.
    """

    step: int
    weight: float
    begun_at: datetime
    looks: int
    recorded: str
    end: str
    after_seconds: float | None
    outcome: str | None
    reason: str | None
    message: str
    metrics: list[MetricView] = Field(default_factory=list)
    thinned: bool = False


class ReplayView(View):
    """A past deployment judged again: where it would have ended, and each of its analyses."""

    deployment_id: str
    recorded_status: DeploymentStatus
    end: str
    message: str
    steps: list[ReplayedStepView]
