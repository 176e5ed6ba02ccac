"""The verdict of a judge about a candidate, with the numbers that it is based on."""

from dataclasses import dataclass, field
from enum import StrEnum

from hotswap.domain.analysis import JudgeName, NoVerdict


class Outcome(StrEnum):
    """Only `PASS` lets a rollout go on: an error or missing data is never a pass (invariant 9)."""

    PASS = "Pass"  # noqa: S105 - a verdict, no password
    HARM = "Harm"
    INSUFFICIENT_DATA = "InsufficientData"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


class Reason(StrEnum):
    """The reason why a deployment ended or went back: documented and stable, so programs may branch on it."""

    COMPLETED = "Completed"
    ERROR_RATE = "ErrorRateIncreased"
    REFUSALS = "RefusalsIncreased"
    LATENCY = "LatencyIncreased"
    ACCURACY = "AccuracyDropped"
    DRIFT = "Drifted"
    METRIC = "MetricBreached"
    LIMIT = "LimitExceeded"
    SAMPLE_RATIO = "SampleRatioMismatch"
    INSUFFICIENT_DATA = "InsufficientData"
    INCONCLUSIVE = "Inconclusive"
    ANALYSIS_FAILED = "AnalysisFailed"
    ABORTED = "Aborted"
    REJECTED = "Rejected"
    CANCELLED = "Cancelled"
    SUPERSEDED = "Superseded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    POLICY_NOT_MET = "PolicyNotMet"
    VALIDATION_FAILED = "ValidationFailed"
    REPLICAS_FAILED = "ReplicasFailed"
    BACKTEST_FAILED = "BacktestFailed"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    ROLLBACK_REQUESTED = "RollbackRequested"
    ROLLBACK_FAILED = "RollbackFailed"
    REPLACED = "Replaced"
    WORKFLOW_LOST = "WorkflowLost"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """The figures of one arm over the time judged; `latency_p50_ms` is None without a request.

    `errors` are its failures (5xx), `refused` the requests that it refused as the client's mistake (4xx).
    """

    requests: int = 0
    errors: int = 0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    refused: int = 0

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class ConcurrentFigures:
    """The figures of both arms for the same requests at 100%; `reason` says why nothing (more) was asked."""

    candidate: ArmFigures = ArmFigures()
    stable: ArmFigures = ArmFigures()
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class MetricResult:
    """The judge's result for one metric, with the `numbers` that it used, by name.

    `log_evidence` is the natural logarithm of its e-value so far: of all steps, or of this step alone where callers
    keep their arm and would be counted again in each. `early` says that the candidate is shown to be within the
    threshold already. Where it `extends`, `on_no_verdict` waits for the deadline.
    `parts` has the evidence of each distribution, of a metric that judges several: then the steps go on from those.
    `is_chance` says that what keeps it from a pass is no more than versions that don't differ show at such a time.
    """

    name: str
    judge: JudgeName
    outcome: Outcome
    message: str
    numbers: dict[str, float] = field(default_factory=dict)
    reason: Reason | None = None
    required: bool = True
    on_no_verdict: NoVerdict = NoVerdict.EXTEND
    log_evidence: float = 0.0
    early: bool = False
    extends: bool = False
    parts: dict[str, float] = field(default_factory=dict)
    is_chance: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of all metrics together: harm of any is harm, and it is a pass only if all required ones pass.

    `action` is what the metrics without a verdict ask for, the strictest of them; where it `extends`, that comes at the
    step's deadline and not at the bake's end. `evidence` is each metric's `log_evidence`, and as `metric.part` that of
    its parts, which the next step goes on from. `missing` are the proxies that were silent at the time. `concurrent`
    are the figures of both arms for the same requests, at 100%. `bake_until` is when the bake of this verdict is to
    end (Unix time, seconds), None of a hold. Where all that keeps it from a pass `is_chance`, the step's deadline
    passes it.
    """

    outcome: Outcome
    message: str
    reason: Reason | None = None
    candidate: ArmFigures = ArmFigures()
    stable: ArmFigures = ArmFigures()
    metrics: tuple[MetricResult, ...] = ()
    evidence: dict[str, float] = field(default_factory=dict)
    action: NoVerdict = NoVerdict.EXTEND
    early: bool = False
    missing: tuple[str, ...] = ()
    extends: bool = False
    concurrent: ConcurrentFigures | None = None
    bake_until: float | None = None
    is_chance: bool = False
