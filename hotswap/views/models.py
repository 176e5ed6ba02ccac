"""Models, their versions and their registrations."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from hotswap.domain.vocabulary import Environment, Framework, ModelType, VersionStatus
from hotswap.views.base import View
from hotswap.views.errors import ProblemView


class ModelView(View):
    """`activeVersion` is Production's, `activeVersions` holds every environment's that has one.

    `idempotent`: whether a request that a candidate fails is answered by the stable.
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
    active_version: str | None
    active_versions: dict[Environment, str]
    is_archived: bool
    created_at: datetime
    updated_at: datetime


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
    status: VersionStatus
    approved_by: str | None
    approved_at: datetime | None
    is_deprecated: bool
    created_by: str
    created_at: datetime


class RegistrationStatus(StrEnum):
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"


class RegistrationView(View):
    """How far a registration is; a failed one says why, with the code that an error of the API would have."""

    model: str
    version: str
    status: RegistrationStatus
    workflow_id: str
    code: str | None = None
    message: str | None = None
    details: list[ProblemView] = Field(default_factory=list)
