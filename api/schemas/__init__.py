"""What callers may send, and nothing else: unknown fields, wrong types and hostile text are refused by name.

Text that PostgreSQL can't hold (NUL, lone surrogates) and numbers that JSON doesn't have (NaN, Infinity) are refused
wherever they stand, also deep in free-form metadata, so that they can't become an error further in. Limits on length
keep a row readable. What is sent is only checked for its form here; whether it exists is asked later.
"""

from api.schemas.base import (
    MOST_NESTING,
    REQUEST_ID,
    Body,
    DeploymentId,
    FreezeId,
    IdempotencyKeyText,
    Label,
    Limit,
    Login,
    ModelId,
    Offset,
    RequestId,
    Text,
    VersionId,
)
from api.schemas.deployments import (
    ConfigResources,
    Cpus,
    CreateDeployment,
    CreateFreeze,
    Gpus,
    Replicas,
    Resources,
    split_resources,
)
from api.schemas.outcomes import ObservedAt, OutcomeLabel, OutcomeOf, ReportOutcome, ReportOutcomes
from api.schemas.registration import (
    ArtifactPath,
    Checksum,
    Deprecate,
    Metadata,
    ModelName,
    PerformanceBaseline,
    RegisterVersion,
    SemVer,
)
from api.schemas.verbs import Say, SayApprove, SayGoTo, SayPromote, SayScale

__all__ = [
    "MOST_NESTING",
    "REQUEST_ID",
    "ArtifactPath",
    "Body",
    "Checksum",
    "ConfigResources",
    "Cpus",
    "CreateDeployment",
    "CreateFreeze",
    "DeploymentId",
    "Deprecate",
    "FreezeId",
    "Gpus",
    "IdempotencyKeyText",
    "Label",
    "Limit",
    "Login",
    "Metadata",
    "ModelId",
    "ModelName",
    "ObservedAt",
    "Offset",
    "OutcomeLabel",
    "OutcomeOf",
    "PerformanceBaseline",
    "RegisterVersion",
    "Replicas",
    "ReportOutcome",
    "ReportOutcomes",
    "RequestId",
    "Resources",
    "Say",
    "SayApprove",
    "SayGoTo",
    "SayPromote",
    "SayScale",
    "SemVer",
    "Text",
    "VersionId",
    "split_resources",
]
