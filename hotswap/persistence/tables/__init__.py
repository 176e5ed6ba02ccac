"""The tables. The seed's four keep their names and columns; what HotSwap needs beside them is added.

Written by the repositories beside this file and by nothing else. Times carry their zone, JSON is JSONB, and constraints
have predictable names so that migrations can speak of them.
"""

from hotswap.persistence.tables.access import ServiceTokenRow
from hotswap.persistence.tables.analysis import (
    AlertRow,
    AnalysisCheckpoint,
    AnalysisObservation,
    AnalysisResult,
    DriftReport,
)
from hotswap.persistence.tables.artifacts import RemovedArtifact, UploadRow
from hotswap.persistence.tables.async_inference import AsyncInference
from hotswap.persistence.tables.base import Base, Now
from hotswap.persistence.tables.deployments import ENDED, Approval, AuditEvent, Deployment, FreezeRow, Slot
from hotswap.persistence.tables.outcomes import OutcomeRollup, OutcomeRow
from hotswap.persistence.tables.records import InferenceRequest, ProxyCount, ProxyMark, RecordRollup
from hotswap.persistence.tables.registry import (
    ActiveVersion,
    Model,
    ModelVersion,
    ValidationOverride,
    VersionAlias,
    VersionParent,
)
from hotswap.persistence.tables.requests import IdempotencyKey
from hotswap.persistence.tables.traffic import (
    DesiredApplication,
    LeaseRow,
    PlanGeneration,
    ProxyReportRow,
    TrafficEpoch,
    TrafficRoute,
)

__all__ = [
    "ENDED",
    "ActiveVersion",
    "AlertRow",
    "AnalysisCheckpoint",
    "AnalysisObservation",
    "AnalysisResult",
    "Approval",
    "AsyncInference",
    "AuditEvent",
    "Base",
    "Deployment",
    "DesiredApplication",
    "DriftReport",
    "FreezeRow",
    "IdempotencyKey",
    "InferenceRequest",
    "LeaseRow",
    "Model",
    "ModelVersion",
    "Now",
    "OutcomeRollup",
    "OutcomeRow",
    "PlanGeneration",
    "ProxyCount",
    "ProxyMark",
    "ProxyReportRow",
    "RecordRollup",
    "RemovedArtifact",
    "ServiceTokenRow",
    "Slot",
    "TrafficEpoch",
    "TrafficRoute",
    "UploadRow",
    "ValidationOverride",
    "VersionAlias",
    "VersionParent",
]
