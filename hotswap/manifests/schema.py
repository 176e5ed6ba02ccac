"""What a manifest may hold: one kind of document, a model with its versions, aliases and where what is to serve.

Fields are named as in the API, whose meaning they have; the API's own rules about their values are not said twice here.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import InitErrorDetails, PydanticCustomError

from hotswap.domain.errors import ValidationFailed
from hotswap.domain.ids import check_alias, check_model_name, normalise_sha256
from hotswap.domain.monitoring import OnDegraded
from hotswap.domain.vocabulary import Environment, Framework, ModelType, OnConflict, Strategy
from hotswap.schemas.fields import Flag, Number, Whole, by_domain, semantic_version, told

API_VERSION = "hotswap/v1"


Alias = Annotated[str, by_domain(check_alias)]
SemVer = Annotated[str, AfterValidator(semantic_version)]


class _Said(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=False, extra="forbid", frozen=True, allow_inf_nan=False
    )

    def said(self) -> dict[str, Any]:
        """What the file says, as the API names it; what it leaves out is missing."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Version(_Said):
    version: SemVer
    artifact_path: str = Field(pattern=r"^s3://[^/]+/.+")
    framework: Framework | None = None
    """The model's when absent."""
    checksum: Annotated[str, by_domain(normalise_sha256)] | None = None
    allows_non_finite: Flag | None = None
    training_metadata: dict[str, Any] | None = None
    performance_baseline: dict[str, Any] | None = None
    reference_distribution: dict[str, Any] | None = None


class Serving(_Said):
    """What serves in one environment, and how it comes there if something else does."""

    version: str
    strategy: Strategy | None = None
    strategy_config: dict[str, Any] = Field(default_factory=dict)
    resources: dict[str, Any] | None = None
    on_conflict: OnConflict = OnConflict.REJECT
    accept_contract_change: Flag = False

    @model_validator(mode="after")
    def _reads_as_a_configuration(self) -> Self:
        """What the API would refuse is told with its line, before anything of the plan is carried out."""
        if self.strategy in {None, Strategy.CANARY}:
            _check_canary(self.strategy_config)
        return self


def _check_canary(config: Mapping[str, Any]) -> None:
    """Raises ValidationError, at its place in the manifest. What else the API takes there is for the API to judge."""
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


class Monitoring(_Said):
    accuracy_drop: Number | None = None
    samples: Whole | None = None
    on_degraded: OnDegraded | None = None
    drift: Flag | None = None


class Manifest(_Said):
    """One model. What is absent stays as it is; `description: null` and `team: null` take them away."""

    api_version: Literal["hotswap/v1"]
    kind: Literal["Model"]
    name: Annotated[str, by_domain(check_model_name)]
    framework: Framework
    type: ModelType | None = None
    description: str | None = None
    owner: str | None = None
    team: str | None = None
    tags: list[str] | None = None
    idempotent: Flag | None = None
    monitoring: Monitoring | None = None
    versions: list[Version] = Field(default_factory=list)
    aliases: Mapping[Alias, str | None] = Field(default_factory=dict)
    """By alias the version that is called so; null: none is."""
    environments: Mapping[Environment, Serving] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_nothing_twice(self) -> Self:
        numbers = [each.version for each in self.versions]
        if twice := {number for number in numbers if numbers.count(number) > 1}:
            raise ValueError(f"versions: {', '.join(sorted(twice))} is there twice")
        for name in self.model_fields_set & {"owner", "tags", "type", "idempotent", "monitoring"}:
            if getattr(self, name) is None:
                raise ValueError(f"{name} can be changed, and not taken away")
        return self
