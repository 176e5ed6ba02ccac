"""What callers may send, and nothing else: unknown fields, wrong types and hostile text are refused by name.

Text that PostgreSQL can't hold (NUL, lone surrogates) and numbers that JSON doesn't have (NaN, Infinity) are refused
wherever they stand, also deep in free-form metadata, so that they can't become an error further in. Limits on length
keep a row readable. What is sent is only checked for its form here; whether it exists is asked later.
"""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

import semver
from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from hotswap.analysis.quality import LARGEST, LONGEST_LABEL, label
from hotswap.analysis.quality import Label as Outcome
from hotswap.analysis.reference import registered
from hotswap.domain.application import ReplicaResources
from hotswap.domain.errors import FieldProblem, ValidationFailed
from hotswap.domain.ids import check_model_name, normalise_sha256
from hotswap.domain.registry import Registration
from hotswap.domain.vocabulary import Environment, Framework, ModelType, OnConflict, Strategy

_ARTIFACT_PATH = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^?#\s]+")
_FIRST_OUTCOME = datetime(2000, 1, 1, tzinfo=UTC)
_SURROGATE = re.compile("[\ud800-\udfff]")

MOST_NESTING = 32


def _plain(value: Any, depth: int = 0) -> Any:
    """Raises ValueError for what JSON or PostgreSQL can't hold."""
    if depth > MOST_NESTING:
        raise ValueError(f"is nested more than {MOST_NESTING} deep")
    match value:
        case str():
            if "\0" in value or _SURROGATE.search(value):
                raise ValueError("has a NUL character or half a surrogate pair")
        case float():
            if not math.isfinite(value):
                raise ValueError("has a number that is not finite")
        case dict():
            for key, inner in value.items():
                _plain(key, depth + 1)
                _plain(inner, depth + 1)
        case list():
            for inner in value:
                _plain(inner, depth + 1)
    return value


def _semver(version: str) -> str:
    if not semver.Version.is_valid(version):
        raise ValueError("must be a semantic version such as 2.0.0 (see semver.org), without a leading 'v'")
    return version


def _artifact_path(path: str) -> str:
    if _ARTIFACT_PATH.fullmatch(path) is None:
        raise ValueError("must be of the form s3://bucket/key")
    return path


def _told(check: Any) -> Any:
    """A domain check as pydantic wants it: its ValidationFailed becomes a ValueError of the field at hand."""

    def run(value: str) -> str:
        try:
            return str(check(value))
        except ValidationFailed as error:
            raise ValueError(error.details[0].message) from None

    return AfterValidator(run)


def _outcome(value: Outcome) -> Outcome:
    if not isinstance(value, str | bool) and abs(value) > LARGEST:
        raise ValueError(f"must be a number from {-LARGEST:g} to {LARGEST:g}")
    return value


def _observed(at: datetime) -> datetime:
    if not _FIRST_OUTCOME <= at <= datetime.now(UTC) + timedelta(days=1):
        raise ValueError("is no time at which an outcome can have been seen")
    return at


Text = Annotated[str, StringConstraints(max_length=2_000)]
OutcomeLabel = Annotated[
    StrictBool | StrictInt | StrictFloat | Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_LABEL)],
    AfterValidator(_outcome),
]
ObservedAt = Annotated[AwareDatetime, AfterValidator(_observed)]
Label = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
ModelName = Annotated[str, _told(check_model_name)]
SemVer = Annotated[str, StringConstraints(max_length=50), AfterValidator(_semver)]
ArtifactPath = Annotated[str, StringConstraints(max_length=512), AfterValidator(_artifact_path)]
Checksum = Annotated[str, _told(normalise_sha256)]
Metadata = dict[str, Any]
IdempotencyKeyText = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]

# What stands in a path goes into a query as it is, so its form is checked like a body's.
ModelId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$", description="the model's id or its name")]
VersionId = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,99}$", description="the version's number or its id")
]
DeploymentId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")]
REQUEST_ID = r"^[\x20-\x7e]{1,128}$"
RequestId = Annotated[str, Path(pattern=REQUEST_ID, description="as the prediction names it")]
FreezeId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")]
Limit = Annotated[int, Query(ge=1, le=200)]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]


class Body(BaseModel):
    """Strict, camelCase, and free of what can't be stored."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, extra="forbid", frozen=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _is_plain(cls, value: Any) -> Any:
        return _plain(value)


class PerformanceBaseline(Body):
    """What the version did when it was trained; ratios are 0 to 1."""

    accuracy: float | None = Field(None, ge=0, le=1)
    precision: float | None = Field(None, ge=0, le=1)
    recall: float | None = Field(None, ge=0, le=1)
    f1: float | None = Field(None, ge=0, le=1)
    latency_ms: float | None = Field(None, gt=0)
    memory_bytes: int | None = Field(None, gt=0)


class RegisterVersion(Body):
    """`POST /models`: the first four fields are enough."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "fraud-detection",
                "version": "2.0.0",
                "framework": "ONNX",
                "artifactPath": "s3://ml-models/fraud-detection/v2.0/fraud-detection-v2.0.tar.gz",
            }
        }
    )

    name: ModelName
    version: SemVer
    framework: Framework
    artifact_path: ArtifactPath
    description: Text | None = None
    type: ModelType = ModelType.OTHER
    owner: Label | None = None
    team: Label | None = None
    tags: list[Label] = Field([], max_length=50)
    checksum: Checksum | None = Field(None, description="sha256 of the artifact, with or without 'sha256:' before it")
    idempotent: bool | None = Field(
        None,
        strict=True,
        description="of the model: false where a request must not be asked twice, so that a candidate's failure "
        "reaches the client instead of being answered by the stable; absent leaves it as it is, true at first",
    )
    training_metadata: Metadata | None = None
    performance_baseline: PerformanceBaseline | None = None
    reference_distribution: Metadata | None = Field(
        None,
        description="by feature: a list of values, or {edges, counts}, or {categories}; what drift is measured from",
    )

    @field_validator("reference_distribution")
    @classmethod
    def _can_be_compared_with(cls, said: Metadata | None) -> Metadata | None:
        try:
            registered(said or {})
        except ValidationFailed as error:
            raise ValueError(error.message) from None
        return said

    def registration(self, *, requested_by: str) -> Registration:
        baseline = self.performance_baseline
        metadata = {
            "training": self.training_metadata,
            "baseline": baseline.model_dump(by_alias=True, exclude_none=True) if baseline else None,
            "reference_distribution": self.reference_distribution,
        }
        return Registration(
            name=self.name,
            version=self.version,
            framework=self.framework,
            artifact_path=self.artifact_path,
            requested_by=requested_by,
            description=self.description,
            type=self.type,
            owner=self.owner or requested_by,
            team=self.team,
            tags=tuple(self.tags),
            checksum=self.checksum,
            idempotent=self.idempotent,
            metadata={name: value for name, value in metadata.items() if value is not None},
        )


def _ray_gpus(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError("must be whole above 1; below, fractions share a GPU")
    return gpus


Replicas = Annotated[int, Field(ge=1, le=100)]
Gpus = Annotated[float, Field(ge=0, le=64), AfterValidator(_ray_gpus)]
Cpus = Annotated[float, Field(ge=0, le=256)]


class _HowMany(Body):
    """Replicas that all of the traffic needs; with bounds, both of them, Ray Serve scales by load within these."""

    replicas: Replicas | None = Field(None, description="that all of the traffic needs; absent: minReplicas, or 1")
    min_replicas: Replicas | None = Field(None, description="with maxReplicas: Ray Serve scales by load between them")
    max_replicas: Replicas | None = None

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if (self.min_replicas is None) != (self.max_replicas is None):
            raise ValueError("minReplicas and maxReplicas: give both or none of them")
        if self.min_replicas is None or self.max_replicas is None:
            return self
        if not self.min_replicas <= self.how_many <= self.max_replicas:
            raise ValueError(
                f"replicas: {self.how_many} is not within minReplicas {self.min_replicas} and maxReplicas "
                f"{self.max_replicas}"
            )
        return self

    @property
    def how_many(self) -> int:
        return self.replicas or self.min_replicas or ReplicaResources().replicas


class Resources(_HowMany):
    """How many replicas, and what each asks of the cluster."""

    gpus: Gpus = ReplicaResources().gpus
    cpus: Cpus = ReplicaResources().cpus

    def replica_resources(self) -> ReplicaResources:
        return ReplicaResources(
            replicas=self.how_many,
            gpus=self.gpus,
            cpus=self.cpus,
            min_replicas=self.min_replicas,
            max_replicas=self.max_replicas,
        )


class ConfigResources(_HowMany):
    """The same as a strategy's configuration says it."""

    num_gpus: Gpus = ReplicaResources().gpus
    num_cpus: Cpus = ReplicaResources().cpus

    def replica_resources(self) -> ReplicaResources:
        return ReplicaResources(
            replicas=self.how_many,
            gpus=self.num_gpus,
            cpus=self.num_cpus,
            min_replicas=self.min_replicas,
            max_replicas=self.max_replicas,
        )


class CreateDeployment(Body):
    """`POST /deployments`: `modelId` is enough, and takes a name too."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "modelId": "fraud-detection",
                "strategy": "Canary",
                "environment": "Production",
                "strategyConfig": {"canaryPercentage": 10, "incrementStep": 15, "monitoringDuration": "PT5M"},
            }
        }
    )

    model_id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$", description="the model's id or its name")
    version_id: str | None = Field(None, pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")
    version: SemVer | None = Field(None, description="instead of versionId; neither: the newest deployable one")
    strategy: Strategy | None = None
    environment: Environment = Environment.PRODUCTION
    strategy_config: dict[str, Any] = {}
    resources: Resources | None = None
    on_conflict: OnConflict | None = Field(
        None,
        description="while another of the model is under way in the environment: reject (the default), queue or "
        "supersede; with startAt, queue is the default",
    )
    start_at: AwareDatetime | None = Field(None, description="when it starts, if it is its turn then; absent: now")

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if self.version is not None and self.version_id is not None:
            raise ValueError("give version or versionId, not both")
        if self.start_at is not None and self.on_conflict is OnConflict.REJECT:
            raise ValueError("onConflict reject and startAt: there would be nobody to tell; give queue or supersede")
        return self


class CreateFreeze(Body):
    """`POST /freezes`: `until`, or a `duration` from its begin."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"environment": "Production", "until": "2026-12-27T00:00:00Z", "reason": "holidays"}
        }
    )

    environment: Environment
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
    starts_at: AwareDatetime | None = Field(None, description="absent: now")
    until: AwareDatetime | None = None
    duration: timedelta | None = Field(None, gt=timedelta(0), description="ISO-8601, instead of until")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.until is None) == (self.duration is None):
            raise ValueError("give until or duration, one of them")
        return self


class Say(Body):
    """The body, if any, of what is said to a deployment."""

    reason: Text | None = None


class SayApprove(Say):
    step: int | None = Field(None, ge=0, description="the wait that is meant; absent: the one that waits now")


class SayGoTo(Say):
    step: int = Field(ge=1, description="the step to be at, counted from 1")


class SayScale(Say):
    replicas: Replicas = Field(description="of what serves now; where it scales by load, the fewest of them")


class SayPromote(Say):
    full: bool = Field(False, description="go to 100% at once, instead of to the next step")


class _Outcome(Body):
    outcome: OutcomeLabel = Field(description="the label, or the number, that the prediction should have been")
    observed_at: ObservedAt | None = Field(
        None, description="when that was seen; one seen before the outcome already known doesn't replace it"
    )

    @property
    def label(self) -> str:
        return label(self.outcome)


class ReportOutcome(_Outcome):
    """`POST /inference/{requestId}/outcome`."""

    model_config = ConfigDict(json_schema_extra={"example": {"outcome": 1, "observedAt": "2026-12-27T06:00:00Z"}})


class OutcomeOf(_Outcome):
    request_id: str = Field(pattern=REQUEST_ID, description="as the prediction names it")


class ReportOutcomes(Body):
    """`POST /inference/outcomes`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"outcomes": [{"requestId": "c0ffee00-0000-4000-8000-000000000000", "outcome": "malignant"}]}
        }
    )

    outcomes: list[OutcomeOf] = Field(min_length=1, max_length=1_000)


class Login(Body):
    user: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    password: Annotated[str, StringConstraints(min_length=1, max_length=1_024)] = Field(
        json_schema_extra={"format": "password"}
    )


_IN_CONFIG = frozenset(to_camel(name) for name in ConfigResources.model_fields)


def split_resources(config: dict[str, Any], resources: Resources | None) -> tuple[dict[str, Any], ReplicaResources]:
    """A strategy's configuration without what it says of replicas, and the resources from there or from beside it.

    Raises pydantic's ValidationError, within the configuration, and ValidationFailed for what is said twice.
    """
    inside = {name: value for name, value in config.items() if name in _IN_CONFIG}
    rest = {name: value for name, value in config.items() if name not in _IN_CONFIG}
    if inside and resources is not None:
        problems = [FieldProblem(f"strategyConfig.{name}", "is said in resources too; say it once") for name in inside]
        raise ValidationFailed("; ".join(f"{problem.field} {problem.message}" for problem in problems), *problems)
    return rest, (resources or ConfigResources.model_validate(inside)).replica_resources()
