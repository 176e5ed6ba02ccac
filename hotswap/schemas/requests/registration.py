"""Requests that register a version."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from hotswap.domain.distributions import registered
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.ids import ALIAS, MODEL_NAME, check_model_name, normalize_sha256
from hotswap.domain.recording import RecordFeatures
from hotswap.domain.registry import Registration
from hotswap.domain.vocabulary import Framework, ModelType
from hotswap.schemas.fields import Flag, Number, Whole, by_domain, semantic_version
from hotswap.schemas.requests.base import Body, Label, Text
from hotswap.schemas.requirements import checked

_IDENTIFIER = "(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_NUMBER = "(0|[1-9][0-9]*)"
# As semver.org has it, for the document; semver looks itself.
_SEMVER = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_IDENTIFIER}(\.{_IDENTIFIER})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"

_ARTIFACT_PATH = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^?#\s]+")


def _semver_or_alias(version: str) -> str:
    return version if ALIAS.fullmatch(version) is not None else semantic_version(version)


def _artifact_path(path: str) -> str:
    if _ARTIFACT_PATH.fullmatch(path) is None:
        raise ValueError("must be of the form s3://bucket/key")
    return path


def _written(pattern: str, *, max_length: int | None = None) -> WithJsonSchema:
    """Return the JSON schema of a check that is made here, with a message that says more than the schema."""
    limit = {} if max_length is None else {"maxLength": max_length}
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern}$", **limit})


ModelName = Annotated[str, by_domain(check_model_name), _written(MODEL_NAME.pattern)]


SemVer = Annotated[
    str, StringConstraints(max_length=50), AfterValidator(semantic_version), _written(_SEMVER, max_length=50)
]


SemVerOrAlias = Annotated[
    str,
    StringConstraints(max_length=63),
    AfterValidator(_semver_or_alias),
    _written(f"({_SEMVER}|{ALIAS.pattern})", max_length=63),
]


Package = Annotated[str, StringConstraints(max_length=200), by_domain(checked)]


ArtifactPath = Annotated[
    str,
    StringConstraints(max_length=512),
    AfterValidator(_artifact_path),
    _written(_ARTIFACT_PATH.pattern, max_length=512),
]


Checksum = Annotated[str, by_domain(normalize_sha256), _written("(sha256:)?[0-9a-fA-F]{64}")]


FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=255)]


Metadata = dict[str, Any]


class PerformanceBaseline(Body):
    """Figures of the version from its training; ratios are 0 to 1."""

    accuracy: Number | None = Field(None, ge=0, le=1)
    precision: Number | None = Field(None, ge=0, le=1)
    recall: Number | None = Field(None, ge=0, le=1)
    f1: Number | None = Field(None, ge=0, le=1)
    latency_ms: Number | None = Field(None, gt=0)
    memory_bytes: Whole | None = Field(None, gt=0)


class TrainingMetadata(Body):
    """The data and methods that trained the version; other fields than these are kept as they are."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "dataSet": {"name": "payments", "uri": "s3://data/payments/2026-10", "digest": "sha256:0f3a…"},
                "sampleCounts": {"train": 80_000, "test": 20_000},
                "hyperparameters": {"max_depth": 6},
                "metrics": {"auc": 0.93},
                "run": "https://mlflow.example.com/#/experiments/3/runs/0f3a",
                "code": {"repository": "https://git.example.com/fraud.git", "commit": "4be1f0c"},
            }
        },
    )

    data_set: Text | Metadata | None = None
    sample_counts: dict[str, Annotated[Whole, Field(ge=0)]] | None = None
    hyperparameters: Metadata | None = None
    metrics: dict[str, Number] | None = None
    run: Text | None = Field(None, description="the address of the training run")
    code: Text | Metadata | None = None


class MadeFrom(Body):
    model: ModelName | None = Field(None, description="absent: the same model")
    version: SemVerOrAlias = Field(description="the number or an alias of a registered version")


class RegisterVersion(Body):
    """`POST /models`: only the first four fields are required."""

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
    idempotent: Flag | None = Field(
        None,
        description="of the model: false if a request must not be sent twice, so that a candidate's failure reaches "
        "the client and the stable doesn't answer; absent: as it is, true for a new model",
    )
    derived_from: list[MadeFrom] = Field(
        [], max_length=50, description="the versions that it was fine-tuned, distilled or merged from"
    )
    requirements: list[Package] = Field(
        [],
        max_length=100,
        description="packages that it needs beyond the installed ones, such as lifelines>=0.27; only if "
        "HOTSWAP_SERVING__ALLOW_REQUIREMENTS is on",
    )
    allows_non_finite: Flag = Field(
        False,
        description="whether its answers may hold NaN or infinity, which JSON writes as null; otherwise such an "
        "answer is a failure",
    )
    training_metadata: TrainingMetadata | None = None
    performance_baseline: PerformanceBaseline | None = None
    reference_distribution: Metadata | None = Field(
        None,
        description="for each feature a list of values, {edges, counts} or {categories}; drift is measured from it",
    )

    @field_validator("reference_distribution")
    @classmethod
    def _can_be_compared_with(cls, said: Metadata | None) -> Metadata | None:
        try:
            registered(said or {})
        except ValidationFailed as error:
            raise ValueError(error.message) from None
        return said

    def registration(
        self, *, requested_by: str, derived_from: Sequence[str] = (), held_to: str | None = None
    ) -> Registration:
        """Return the registration.

        `derived_from` holds the ids of what this body names; `held_to` is the only team that its caller may use.
        """
        metadata = {
            "training": _said(self.training_metadata),
            "baseline": _said(self.performance_baseline),
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
            derived_from=tuple(derived_from),
            requirements=tuple(self.requirements),
            allows_non_finite=self.allows_non_finite,
            held_to=held_to,
            metadata={name: value for name, value in metadata.items() if value is not None},
        )


def _said(part: Body | None) -> Metadata | None:
    return part.model_dump(by_alias=True, exclude_none=True) if part is not None else None


def _share(given: float | None) -> float | None:
    """Check the bounds here, since a union with null would name its members in the error."""
    if given is not None and not 0 < given <= 1:
        raise ValueError("must be greater than 0 and at most 1")
    return given


class ChangeModel(Body):
    """`PATCH /models/{model}`: fields that are left out stay as they are (RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"example": {"owner": "ann", "tags": ["fraud", "tier-1"]}})

    description: Text | None = None
    owner: Label | SkipJsonSchema[None] = None
    team: Label | None = Field(None, description="null: no team")
    tags: Annotated[list[Label], Field(max_length=50)] | SkipJsonSchema[None] = None
    type: ModelType | SkipJsonSchema[None] = None
    record_features: RecordFeatures | SkipJsonSchema[None] = Field(
        None,
        description="the requests whose records have the features: all, a sample, or none; holds for deployments that "
        "are opened from then on, as do the next two",
    )
    record_sample_rate: Annotated[Number | SkipJsonSchema[None], AfterValidator(_share)] = Field(
        None,
        description="the share of the requests, if recordFeatures is sample",
        json_schema_extra={"exclusiveMinimum": 0, "maximum": 1},
    )
    drop_fields: Annotated[list[FeatureName], Field(max_length=200)] | SkipJsonSchema[None] = Field(
        None,
        description="names of features that no record has, at any depth; those of a list are its positions: 0, 1, …",
    )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object to send; null removes a value."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @model_validator(mode="after")
    def _keeps_what_it_needs(self) -> Self:
        for name in self.model_fields_set - {"description", "team"}:
            if getattr(self, name) is None:
                raise ValueError(f"{to_camel(name)} can be changed, but not removed")
        return self


class GiveAlias(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"version": "2.0.0"}})

    version: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]{0,99}$")] = Field(
        description="the version's number, its id or another alias"
    )


class WriteCard(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"text": "Card payments of the EU. Not for cash."}})

    text: Annotated[str, StringConstraints(max_length=100_000)] = Field(
        description="Markdown; an empty text removes the card"
    )


class Deprecate(Body):
    model_config = ConfigDict(json_schema_extra={"example": {"reason": "trained on last year's data"}})

    reason: Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="shown to people who try to deploy it"
    )


class OverrideValidation(Body):
    """`POST /models/{model}/versions/{version}/validation/override`."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"reason": "slower by design: it reads images twice as large"}}
    )

    reason: Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="kept with the version, shown in its reports, and audited"
    )
    checks: list[Label] = Field(
        [], max_length=10, description="names of checks; absent: all failed ones that may be overridden"
    )
