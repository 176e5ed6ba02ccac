"""Errors of the domain.

    HotSwapError
    ├── ValidationFailed            what was asked can't be done as written; `details` name the fields
    │   └── SchemaValidationFailed  a request that doesn't fit its model's schema
    ├── NotFound
    │   ├── ModelNotFound
    │   ├── VersionNotFound
    │   ├── AliasNotFound
    │   ├── DeploymentNotFound
    │   └── InferenceNotFound       no such asynchronous request, or another caller's
    ├── Conflict                    somebody else holds what was asked for
    │   ├── PolicyNotMet            a policy of the environment stands against it, now
    │   ├── ContractNarrowed        it would refuse or break clients that what serves answers, and nobody accepted that
    │   ├── InsufficientCapacity    the GPUs or CPUs that it needs are others' now; the message has the sum
    │   ├── KeyReused               an idempotency key stands for another request
    │   ├── KeyInUse                the first request with an idempotency key is still under way
    │   ├── StaleFence              a newer writer has been here; the late one must give up
    │   ├── ProxyNameTaken          another proxy reports under this name
    │   ├── DeploymentMoved         the deployment is further than its writer knows: its workflow was reset
    │   └── IllegalTransition       a deployment can't go from this status to that one
    ├── MethodNotAllowed            what is there can't be read or changed in this way
    ├── ChangedMeanwhile            it is not what the caller believes it to be (If-Match)
    ├── Unauthorized
    ├── Forbidden
    ├── RateLimited                 too often; `retry_after` says in how many seconds it may be tried again
    ├── ReplicasFailed              replicas can't start; the message carries Ray's reason
    ├── InferenceFailed             the model failed on an input that its schema allows
    └── Unavailable                 a part that is needed doesn't answer; trying again may help
        └── AnswerLost              it may have done what was asked, and only its answer didn't come

Each class has a stable `code`, which people and programs may rely on. The HTTP status is decided where a request is
answered (`api/errors.py`, `serving/engine.py`), and whether Temporal retries in `activities/heartbeating.py`. Read a
table over these classes by `nearest`, so that an entry also holds for the subclasses. Never branch on a message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeVar

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """A problem with one field of a request."""

    field: str
    message: str


class HotSwapError(Exception):
    code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str, *details: FieldProblem) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class ValidationFailed(HotSwapError):
    code = "VALIDATION_ERROR"

    @classmethod
    def of(cls, field: str, message: str) -> "ValidationFailed":
        """Create an error about one field, whose message is understood without the field's name."""
        return cls(f"{field}: {message}", FieldProblem(field, message))


class SchemaValidationFailed(ValidationFailed):
    code = "SCHEMA_VALIDATION_ERROR"


class NotFound(HotSwapError):
    code = "NOT_FOUND"


class ModelNotFound(NotFound):
    code = "MODEL_NOT_FOUND"


class VersionNotFound(NotFound):
    code = "VERSION_NOT_FOUND"


class AliasNotFound(NotFound):
    code = "ALIAS_NOT_FOUND"


class DeploymentNotFound(NotFound):
    code = "DEPLOYMENT_NOT_FOUND"


class InferenceNotFound(NotFound):
    code = "INFERENCE_NOT_FOUND"


class Conflict(HotSwapError):
    code = "CONFLICT"


class PolicyNotMet(Conflict):
    code = "POLICY_NOT_MET"


class ContractNarrowed(Conflict):
    code = "CONTRACT_NARROWED"


class InsufficientCapacity(Conflict):
    code = "INSUFFICIENT_CAPACITY"


class KeyReused(Conflict):
    code = "IDEMPOTENCY_KEY_REUSED"


class KeyInUse(Conflict):
    code = "IDEMPOTENCY_KEY_IN_USE"


class StaleFence(Conflict):
    code = "STALE_FENCE"


class ProxyNameTaken(Conflict):
    code = "PROXY_NAME_TAKEN"


class DeploymentMoved(Conflict):
    code = "DEPLOYMENT_MOVED"


class IllegalTransition(Conflict):
    code = "ILLEGAL_TRANSITION"


class MethodNotAllowed(HotSwapError):
    code = "METHOD_NOT_ALLOWED"


class ChangedMeanwhile(HotSwapError):
    code = "PRECONDITION_FAILED"


class Unauthorized(HotSwapError):
    code = "UNAUTHORIZED"


class Forbidden(HotSwapError):
    code = "FORBIDDEN"


class RateLimited(HotSwapError):
    code = "RATE_LIMIT_EXCEEDED"

    def __init__(self, message: str, *details: FieldProblem, retry_after: int = 60) -> None:
        super().__init__(message, *details)
        self.retry_after = retry_after


class ReplicasFailed(HotSwapError):
    code = "REPLICAS_FAILED"


class InferenceFailed(HotSwapError):
    code = "INFERENCE_ERROR"


class Unavailable(HotSwapError):
    code = "SERVICE_UNAVAILABLE"


class AnswerLost(Unavailable):
    code = "ANSWER_LOST"


def nearest(table: Mapping[type[HotSwapError], Entry], error: HotSwapError) -> Entry | None:
    """Return the entry of the error's own class, else of the closest class above it, None where no entry holds."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)


BY_CODE: dict[str, type[HotSwapError]] = {}


def _index(parent: type[HotSwapError]) -> None:
    BY_CODE[parent.code] = parent
    for child in parent.__subclasses__():
        _index(child)


_index(HotSwapError)
