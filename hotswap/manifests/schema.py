"""Format of a manifest. It has one kind of document: a model with its versions, aliases, and active versions.

Fields are named as in the API and mean the same. A version and an active version hold the fields of the requests that
they become (`hotswap.schemas.requests`), and those say what is valid in them: no rule and no field is written twice.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.ids import check_alias
from hotswap.domain.monitoring import OnDegraded
from hotswap.domain.recording import RecordFeatures
from hotswap.domain.vocabulary import Environment, Framework, ModelType, OnConflict, Strategy
from hotswap.schemas.fields import Flag, Number, Whole, by_domain, told
from hotswap.schemas.requests import ChangeModel, CreateDeployment, ModelName, RegisterVersion, SemVer

API_VERSION = "hotswap/v1"

DESCRIPTION = ("type", "description", "owner", "team", "tags")
"""Fields that describe a model, and go with the version that creates it."""

RECORDING = ("recordFeatures", "recordSampleRate", "dropFields")
"""Fields that say what the model's records keep; they can be changed before its first deployment."""

_OF_THE_MODEL = frozenset({*DESCRIPTION, *RECORDING, "name", "idempotent"})
_OF_THE_PLAN = frozenset({"modelId", "versionId", "environment", "startAt", "emergency", "reason"})
"""Fields of a request that a version, or what serves, doesn't say by itself."""

ManifestPlace: TypeAlias = tuple[int | str, ...]

Alias = Annotated[str, by_domain(check_alias)]


class _Said(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, extra="forbid", frozen=True, allow_inf_nan=False
    )

    def said(self) -> dict[str, Any]:
        """Return what the file says, as the API names it; what it leaves out is missing."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Version(_Said):
    """A version of the model. Beside these, it may have any field by which the API registers one."""

    model_config = ConfigDict(extra="allow")

    version: SemVer
    artifact_path: str
    framework: Framework | None = None
    """The model's when absent."""


class Serving(_Said):
    """The active version in one environment. It may have every other field by which the API deploys."""

    model_config = ConfigDict(extra="allow")

    version: str
    strategy: Strategy | None = None
    strategy_config: dict[str, Any] = Field(default_factory=dict)
    on_conflict: OnConflict = OnConflict.REJECT

    @model_validator(mode="after")
    def _reads_as_a_configuration(self) -> Self:
        """Check what the API would refuse, so that it is told with its line, before any change is made."""
        if self.strategy in {None, Strategy.CANARY}:
            _check_canary(self.strategy_config)
        return self


def _check_canary(config: Mapping[str, Any]) -> None:
    """Check the configuration; the API checks what else it holds. Raises ValidationError at the manifest's place."""
    from hotswap.schemas.strategy import CanaryConfig  # takes longer to import than all other commands run

    try:
        said = CanaryConfig.model_validate(config)
        if "monitoring_duration" in said.model_fields_set:
            said.check()
        else:  # the server's settings say how long a bake is
            said.check_directions()
    except ValidationFailed as error:
        (wrong,) = error.details
        raise _at(wrong.field.split("."), wrong.message) from None
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            if problem["type"] != "extra_forbidden":
                raise _at(problem["loc"], told(problem)) from None


def _at(place: Iterable[int | str], message: str) -> ValidationError:
    told = PydanticCustomError("strategy_config", "{message}", {"message": message})
    loc = ("strategyConfig", *(int(part) if str(part).isdecimal() else part for part in place))
    return ValidationError.from_exception_data("Serving", [InitErrorDetails(type=told, loc=loc, input=None)])


class ManifestMonitoring(_Said):
    accuracy_drop: Number | None = None
    samples: Whole | None = None
    on_degraded: OnDegraded | None = None
    drift: Flag | None = None


class Manifest(_Said):
    """One model. What is absent stays as it is; `description: null` and `team: null` take them away."""

    api_version: Literal["hotswap/v1"]
    kind: Literal["Model"]
    name: ModelName
    framework: Framework
    type: ModelType | None = None
    description: str | None = None
    owner: str | None = None
    team: str | None = None
    tags: list[str] | None = None
    idempotent: Flag | None = None
    record_features: RecordFeatures | None = None
    record_sample_rate: Number | None = None
    drop_fields: list[str] | None = None
    monitoring: ManifestMonitoring | None = None
    versions: list[Version] = Field(default_factory=list)
    aliases: Mapping[Alias, str | None] = Field(default_factory=dict)
    """The version of each alias; null: none has it."""
    environments: Mapping[Environment, Serving] = Field(default_factory=dict)

    def registration(self, version: Version, *, is_new: bool) -> RegisterVersion:
        """Return what registers a version; what describes a new model goes along, for whichever is first makes it.

        Raises pydantic's ValidationError.
        """
        said = self.said()
        described = {name: said[name] for name in DESCRIPTION if is_new and said.get(name) is not None}
        if "idempotent" in said:
            described["idempotent"] = said["idempotent"]
        here = {"name": self.name, "framework": self.framework.value}
        return RegisterVersion.model_validate({**described, **here, **version.said()})

    def recording(self) -> ChangeModel:
        """Return what changes what records keep. Raises pydantic's ValidationError."""
        said = self.said()
        return ChangeModel.model_validate({name: said[name] for name in RECORDING if name in said})

    def deployment(self, environment: Environment, *, version: str) -> CreateDeployment:
        """Return what lets this version serve there. Raises pydantic's ValidationError."""
        serving = self.environments[environment]
        said = {**serving.said(), "onConflict": serving.on_conflict.value, "version": version}
        return CreateDeployment.model_validate({**said, "modelId": self.name, "environment": environment.value})

    @model_validator(mode="after")
    def _says_nothing_twice(self) -> Self:
        numbers = [each.version for each in self.versions]
        if twice := {number for number in numbers if numbers.count(number) > 1}:
            raise ValueError(f"versions: {', '.join(sorted(twice))} is there twice")
        for name in sorted(self.model_fields_set - {"description", "team"}):
            if getattr(self, name) is None:
                raise ValueError(f"{to_camel(name)} can be changed, but not removed")
        return self

    @model_validator(mode="after")
    def _becomes_requests(self) -> Self:
        """Check what the API would refuse, so that it is told with its line, before any change is made."""
        found: list[InitErrorDetails] = []
        place: ManifestPlace
        found += _refused(self.recording, ())
        for number, version in enumerate(self.versions):
            place = ("versions", number)
            found += _foreign(version, _OF_THE_MODEL, place)
            found += _refused(partial(self.registration, version, is_new=number == 0), place)
        for environment, serving in self.environments.items():
            place = ("environments", environment.value)
            found += _foreign(serving, _OF_THE_PLAN, place)
            is_called = self.aliases.get(serving.version) or serving.version
            found += _refused(partial(self.deployment, environment, version=is_called), place)
        if found:
            raise ValidationError.from_exception_data("Manifest", found)
        return self


def _foreign(part: _Said, names: frozenset[str], place: ManifestPlace) -> Iterator[InitErrorDetails]:
    """Yield the fields of the request that don't belong at this place."""
    for name in sorted(names & (part.model_extra or {}).keys()):
        problem = PydanticCustomError("extra_forbidden", "there is no such field")
        yield InitErrorDetails(type=problem, loc=(*place, name), input=None)


def _refused(build: Callable[[], object], place: ManifestPlace) -> Iterator[InitErrorDetails]:
    """Yield what a request refuses, at its place in the file; what describes the model is outside of versions."""
    try:
        build()
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            at = problem["loc"]
            kept = PydanticCustomError(problem["type"], "{message}", {"message": told(problem)})
            is_the_models = bool(at) and at[0] in _OF_THE_MODEL
            yield InitErrorDetails(type=kept, loc=at if is_the_models else (*place, *at), input=problem["input"])
