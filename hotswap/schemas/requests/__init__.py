"""Bodies that callers may send, and nothing else: unknown fields, wrong types and hostile text are refused by name.

Text that PostgreSQL can't hold (NUL, lone surrogates) and numbers that JSON doesn't have (NaN, Infinity) are refused
everywhere, also deep in free-form metadata, so that they can't become an error further in. Limits on length
keep a row readable. Only the form is checked here; whether the named things exist is checked later.
"""

from hotswap.schemas.requests.access import Login
from hotswap.schemas.requests.artifacts import BeginUpload, CollectGarbage
from hotswap.schemas.requests.base import (
    IDEMPOTENCY_KEY,
    REQUEST_ID,
    Body,
    Text,
    Time,
)
from hotswap.schemas.requests.deployments import (
    CreateDeployment,
    CreateFreeze,
    Replicas,
    Resources,
    says_resources,
    split_resources,
)
from hotswap.schemas.requests.inference import AskLater
from hotswap.schemas.requests.outcomes import OutcomeOf, ReportOutcome, ReportOutcomes
from hotswap.schemas.requests.registration import (
    ChangeModel,
    Deprecate,
    GiveAlias,
    Metadata,
    ModelName,
    OverrideValidation,
    PerformanceBaseline,
    RegisterVersion,
    SemVer,
    WriteCard,
)
from hotswap.schemas.requests.replays import Replay
from hotswap.schemas.requests.tokens import CreateToken, RotateToken
from hotswap.schemas.requests.verbs import Say, SayApprove, SayGoTo, SayPromote, SayScale

__all__ = [
    "IDEMPOTENCY_KEY",
    "REQUEST_ID",
    "AskLater",
    "BeginUpload",
    "Body",
    "ChangeModel",
    "CollectGarbage",
    "CreateDeployment",
    "CreateFreeze",
    "CreateToken",
    "Deprecate",
    "GiveAlias",
    "Login",
    "Metadata",
    "ModelName",
    "OutcomeOf",
    "OverrideValidation",
    "PerformanceBaseline",
    "RegisterVersion",
    "Replay",
    "Replicas",
    "ReportOutcome",
    "ReportOutcomes",
    "Resources",
    "RotateToken",
    "Say",
    "SayApprove",
    "SayGoTo",
    "SayPromote",
    "SayScale",
    "SemVer",
    "Text",
    "Time",
    "WriteCard",
    "says_resources",
    "split_resources",
]
