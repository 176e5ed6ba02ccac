"""Models, versions and deployments, in the words of the control loop."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hotswap.domain.application import ApplicationSpec, ArtifactRef, ReplicaResources, application_name
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.recording import SAMPLE_RATE, RecordFeatures, Recording
from hotswap.domain.traffic import Arm
from hotswap.domain.vocabulary import DeploymentKind, Environment, Framework, ModelType, VersionStatus


@dataclass(frozen=True, slots=True)
class Registration:
    """A person's request to register a version; the rest is read from the artifact.

    `idempotent` is the model's, not this version's: None leaves it as it is, which is True for a new model.
    `derived_from` holds the ids of the versions that it was made from.
    """

    name: str
    version: str
    framework: Framework
    artifact_path: str
    requested_by: str
    description: str | None = None
    type: ModelType = ModelType.OTHER
    owner: str | None = None
    team: str | None = None
    tags: tuple[str, ...] = ()
    checksum: str | None = None
    idempotent: bool | None = None
    derived_from: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    """Packages that it needs beyond what is installed, such as `lifelines>=0.27`."""
    allows_non_finite: bool = False
    """True if its answers may hold NaN or infinity; otherwise such an answer is a failure."""
    held_to: str | None = None
    """The team whose model it has to be, for who may register in this one only; None holds it to no team."""


@dataclass(frozen=True, slots=True)
class GoldenRequest:
    """A request that the version must answer before it sees traffic; `prediction` None accepts any answer."""

    features: Any
    prediction: Any = None


@dataclass(frozen=True, slots=True)
class Inspection:
    """The content of an artifact, read in a process of its own since artifacts are not trusted."""

    artifact: ArtifactRef
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    requirements: tuple[str, ...] = ()
    """Exact versions of what has to be installed for it."""


@dataclass(frozen=True, slots=True)
class VersionRef:
    """A registered version, with all that serving it takes."""

    version_id: str
    model_id: str
    model: str
    version: str
    framework: Framework
    artifact: ArtifactRef
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    baseline: dict[str, Any] = field(default_factory=dict)
    """The figures of its training, by the API's names: `accuracy`, `latencyMs`, ... as far as they were given."""
    requirements: tuple[str, ...] = ()
    recording: Recording = field(default_factory=Recording)
    """The model's setting as it was when this was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVersion:
    """A version that is to be stored; `derived_from` has the ids of the versions that it was made from."""

    ref: VersionRef
    training: dict[str, Any]
    reference_distribution: dict[str, Any]
    derived_from: tuple[str, ...]
    created_by: str


@dataclass(frozen=True, slots=True)
class DeploymentBrief:
    """The facts from which a deployment's workflow starts, read once at its beginning.

    `stable` is the active version of this environment (None before the first deployment); `warm` is an application that
    already runs the candidate version, such as the one to which a rollback goes back. The rest is what an earlier run
    left that was terminated: `status` as the row has it, `is_split` that the route has a candidate, whose
    application is `left_behind`, or sheds requests, `is_weighted` that this candidate has weight or that requests are
    shed, `was_verified` that this deployment had a verified weight, `is_promoted` that its version is the active one;
    `stable` is then what was active before it. `follows` is the run that had the newest epoch before this run.
    """

    deployment_id: str
    kind: DeploymentKind
    environment: Environment
    candidate: VersionRef
    resources: ReplicaResources
    stable: Arm | None
    warm: Arm | None
    initiated_by: str
    status: DeploymentStatus = DeploymentStatus.PENDING
    is_split: bool = False
    is_weighted: bool = False
    was_verified: bool = False
    is_promoted: bool = False
    left_behind: str | None = None
    follows: str | None = None

    def application_spec(self, *, warmup_timeout_seconds: float) -> ApplicationSpec:
        """Return this deployment's own application; for a rollback, that of the version that it goes back to."""
        name = application_name(self.environment, self.candidate.model, self.deployment_id)
        deployment_id = self.deployment_id
        if self.kind is DeploymentKind.ROLLBACK and self.warm is not None:
            name, deployment_id = self.warm.application, self.warm.deployment_id
        return ApplicationSpec(
            name=name,
            deployment_id=deployment_id,
            environment=self.environment,
            model=self.candidate.model,
            version=self.candidate.version,
            framework=self.candidate.framework,
            artifact=self.candidate.artifact,
            input_schema=self.candidate.input_schema,
            output_schema=self.candidate.output_schema,
            resources=self.resources,
            warmup_timeout_seconds=warmup_timeout_seconds,
            requirements=self.candidate.requirements,
            recording=self.candidate.recording,
        )


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A deployment that has not ended, by its row: whether a workflow works on it, only Temporal knows."""

    deployment_id: str
    kind: DeploymentKind
    environment: Environment
    model: str
    version: str
    initiated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A model on record. `active_version` is Production's."""

    model_id: str
    team: str | None
    name: str
    description: str | None
    framework: Framework
    type: ModelType
    owner: str
    tags: list[str]
    is_idempotent: bool
    monitoring: dict[str, Any]
    active_version: str | None
    is_archived: bool
    created_at: datetime
    updated_at: datetime
    record_features: RecordFeatures = RecordFeatures.ALL
    record_sample_rate: float = SAMPLE_RATE
    drop_fields: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModel:
    """A model that is to be stored with the first of its versions."""

    model_id: str
    name: str
    team: str | None
    description: str | None
    framework: Framework
    type: ModelType
    owner: str
    tags: list[str]
    is_idempotent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """A version on record. `deprecation` is the reason for it, `card` what people write of it, in Markdown."""

    version_id: str
    model_id: str
    version: str
    framework: Framework
    artifact_path: str
    checksum: str
    artifact_size_bytes: int
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    training: dict[str, Any]
    baseline: dict[str, Any]
    reference_distribution: dict[str, Any]
    requirements: list[str]
    status: VersionStatus
    approved_by: str | None
    approved_at: datetime | None
    is_deprecated: bool
    deprecation: str | None
    card: str | None
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model with its active versions and its aliases, each by the version's number."""

    model: RegisteredModel
    active_versions: dict[Environment, str]
    aliases: dict[str, str]

    def aliases_of(self, version: str) -> tuple[str, ...]:
        """Return the aliases of the version of this number."""
        return tuple(alias for alias, named in self.aliases.items() if named == version)


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """A version with its aliases."""

    version: RegisteredVersion
    ref: VersionRef
    aliases: tuple[str, ...] = ()

    @property
    def is_deployable(self) -> bool:
        """Whether a new deployment may take it without being asked for it by name."""
        out_of_use = {VersionStatus.DEPRECATED, VersionStatus.ARCHIVED}
        return not self.version.is_deprecated and self.version.status not in out_of_use

    def is_called(self, version: str) -> bool:
        """Return whether this is its number, its id or one of its aliases."""
        return version in {self.version.version, self.version.version_id, *self.aliases}


def chosen(newest_first: Sequence[VersionEntry], version: str | None) -> VersionEntry | None:
    """Return the version that is called so; without a name the newest that is deployable."""
    return next(
        (each for each in newest_first if (each.is_deployable if version is None else each.is_called(version))), None
    )


@dataclass(frozen=True, slots=True)
class WantedModels:
    """A filter of models; None matches everything. `name` is a part of the name."""

    framework: Framework | None = None
    type: ModelType | None = None
    team: str | None = None
    owner: str | None = None
    tag: str | None = None
    name: str | None = None
    is_archived: bool = False


ANY_MODEL = WantedModels()


@dataclass(frozen=True, slots=True)
class Relative:
    """A version that another one was made from or led to.

    `distance` is the number of steps between them by the shortest way; `derived_from` has the ids of the versions that
    this one was made from.
    """

    model: str
    version: str
    version_id: str
    distance: int
    derived_from: tuple[str, ...]
    training_metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a version was made from and what was made from it; in both, the nearest come first."""

    ancestors: tuple[Relative, ...]
    descendants: tuple[Relative, ...]


@dataclass(frozen=True, slots=True)
class ModelUse:
    """What keeps a model in use: an environment that a version of it serves, and a deployment that is under way."""

    serves: Environment | None = None
    under_way: str | None = None
