"""Models, their versions and their registrations."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from hotswap.domain.recording import SAMPLE_RATE, RecordFeatures
from hotswap.domain.vocabulary import DeploymentKind, Environment, Framework, ModelType, VersionStatus
from hotswap.schemas.responses.base import View
from hotswap.schemas.responses.errors import ProblemView


class ModelView(View):
    """A model. `activeVersion` is Production's, `activeVersions` holds those of every environment that has one.

    `aliases` are names, such as `champion`, that move from version to version.

    `idempotent` says whether the stable answers a request that a candidate fails.

    `recordFeatures`, `recordSampleRate` and `dropFields` say what records keep of the features, from the next
    deployment on.
    """

    model_id: str
    name: str
    description: str | None
    framework: Framework
    type: ModelType
    owner: str
    team: str | None
    tags: list[str]
    idempotent: bool
    record_features: RecordFeatures = RecordFeatures.ALL
    record_sample_rate: float = SAMPLE_RATE
    drop_fields: list[str] = Field(default_factory=list)
    active_version: str | None
    active_versions: dict[Environment, str]
    aliases: dict[str, str] = Field(default_factory=dict)
    is_archived: bool
    created_at: datetime
    updated_at: datetime


class ServedView(View):
    """A time in which a version served; `until` is null while it does.

    `initiatedBy` activated it with the deployment named, and `approvedBy` are the people who approved that.
    """

    environment: Environment
    version: str
    deployment_id: str
    kind: DeploymentKind
    initiated_by: str
    approved_by: list[str]
    since: datetime
    until: datetime | None


class VersionView(View):
    version_id: str
    model_id: str
    model: str
    version: str
    framework: Framework
    artifact_path: str
    checksum: str
    artifact_size_bytes: int
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    training_metadata: dict[str, Any]
    performance_baseline: dict[str, Any]
    reference_distribution: dict[str, Any] = Field(default_factory=dict)
    requirements: list[str] = Field(default_factory=list, description="exact versions of packages of its own")
    allows_non_finite: bool = False
    status: VersionStatus
    approved_by: str | None
    approved_at: datetime | None
    is_deprecated: bool
    deprecation: str | None = None
    aliases: list[str] = Field(default_factory=list)
    created_by: str
    created_at: datetime


class RelativeView(View):
    """A relative of a version; `distance` is the fewest generations, `derivedFrom` the ids of its own parents."""

    model: str
    version: str
    version_id: str
    distance: int
    derived_from: list[str]
    training_metadata: dict[str, Any]


class LineageView(View):
    """The versions that a version was made from, and those made from it, nearest first; at most a thousand of each."""

    model: str
    version: str
    version_id: str
    ancestors: list[RelativeView]
    descendants: list[RelativeView]


class CardView(View):
    """The card of a version in Markdown, which people write: null if nobody has."""

    model: str
    version: str
    text: str | None


class RegistrationStatus(StrEnum):
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"


class RegistrationView(View):
    """The progress of a registration. If it failed, it says why, with the code that an error of the API would have."""

    model: str
    version: str
    status: RegistrationStatus
    workflow_id: str
    code: str | None = None
    message: str | None = None
    details: list[ProblemView] = Field(default_factory=list)
