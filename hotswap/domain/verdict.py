"""What a judge says about a candidate, with the numbers it was said on."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Only `PASS` lets a rollout go on: an error or missing data is never a pass (invariant 9)."""

    PASS = "Pass"  # noqa: S105 - a verdict, no password
    HARM = "Harm"
    INSUFFICIENT_DATA = "InsufficientData"
    INCONCLUSIVE = "Inconclusive"
    ERROR = "Error"


class Reason(StrEnum):
    """Why a deployment ended or went back: documented, stable, for programs to branch on."""

    COMPLETED = "Completed"
    ERROR_RATE = "ErrorRateIncreased"
    LATENCY = "LatencyIncreased"
    INSUFFICIENT_DATA = "InsufficientData"
    ANALYSIS_FAILED = "AnalysisFailed"
    ABORTED = "Aborted"
    REJECTED = "Rejected"
    CANCELLED = "Cancelled"
    SUPERSEDED = "Superseded"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    POLICY_NOT_MET = "PolicyNotMet"
    VALIDATION_FAILED = "ValidationFailed"
    REPLICAS_FAILED = "ReplicasFailed"
    INSUFFICIENT_CAPACITY = "InsufficientCapacity"
    ROLLBACK_REQUESTED = "RollbackRequested"
    ROLLBACK_FAILED = "RollbackFailed"
    REPLACED = "Replaced"
    WORKFLOW_LOST = "WorkflowLost"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """What was seen of one arm over the time judged; `latency_p50_ms` is None without a request."""

    requests: int = 0
    errors: int = 0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`log_evidence` is the natural logarithm of the e-value for 'the candidate fails more often', all steps so far."""

    outcome: Outcome
    message: str
    reason: Reason | None = None
    candidate: ArmFigures = ArmFigures()
    stable: ArmFigures = ArmFigures()
    log_evidence: float = 0.0
