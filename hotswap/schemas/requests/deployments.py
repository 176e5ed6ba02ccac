"""Requests that start a deployment, and freezes, in which none may start."""

from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel

from hotswap.domain.application import ReplicaResources
from hotswap.domain.errors import FieldProblem, ValidationFailed
from hotswap.domain.vocabulary import Environment, OnConflict, Strategy
from hotswap.schemas.fields import Duration, Flag, Number, Whole
from hotswap.schemas.requests.base import Body, Text, Time
from hotswap.schemas.requests.registration import SemVerOrAlias


def _ray_gpus(gpus: float) -> float:
    if gpus > 1 and not gpus.is_integer():
        raise ValueError("must be a whole number, or a fraction below 1, which shares a GPU")
    return gpus


Replicas = Annotated[Whole, Field(ge=1, le=100)]


Gpus = Annotated[Number, Field(ge=0, le=64), AfterValidator(_ray_gpus)]


Cpus = Annotated[Number, Field(ge=0, le=256)]


BATCH_WAIT = timedelta(milliseconds=5)
"""The wait of a batch if the request for batches doesn't give one."""


class _HowMany(Body):
    """The number of replicas that all of the traffic needs; with both bounds Ray Serve scales by load between them."""

    replicas: Replicas | None = Field(
        None, description="the number that all of the traffic needs; absent: minReplicas, or 1"
    )
    min_replicas: Replicas | None = Field(None, description="with maxReplicas: Ray Serve scales by load between them")
    max_replicas: Replicas | None = None
    max_batch_size: Whole | None = Field(
        None,
        ge=2,
        le=ReplicaResources().max_ongoing_requests,
        description="the most single requests that a replica gathers into one call of the model; absent: no batches",
    )
    batch_wait: Duration | None = Field(
        None,
        gt=timedelta(0),
        le=timedelta(seconds=1),
        description="how long the first request of a batch waits for more, ISO-8601; PT0.005S if absent",
    )

    @model_validator(mode="after")
    def _waits_for_a_batch(self) -> Self:
        if self.batch_wait is not None and self.max_batch_size is None:
            raise ValueError("batchWait: needs maxBatchSize; without it no request waits for others")
        return self

    @model_validator(mode="after")
    def _within_bounds(self) -> Self:
        if (self.min_replicas is None) != (self.max_replicas is None):
            raise ValueError("minReplicas and maxReplicas: give both, or neither")
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

    def _resources(self, *, gpus: float, cpus: float) -> ReplicaResources:
        wait = (self.batch_wait or BATCH_WAIT) if self.max_batch_size is not None else timedelta(0)
        return ReplicaResources(
            replicas=self.how_many,
            gpus=gpus,
            cpus=cpus,
            min_replicas=self.min_replicas,
            max_replicas=self.max_replicas,
            max_batch_size=self.max_batch_size or ReplicaResources().max_batch_size,
            batch_wait_seconds=wait.total_seconds(),
        )


class Resources(_HowMany):
    """The number of replicas, and what each asks of the cluster."""

    gpus: Gpus = ReplicaResources().gpus
    cpus: Cpus = ReplicaResources().cpus

    def replica_resources(self) -> ReplicaResources:
        return self._resources(gpus=self.gpus, cpus=self.cpus)


class ConfigResources(_HowMany):
    """Resources, as a strategy's configuration holds them."""

    num_gpus: Gpus = ReplicaResources().gpus
    num_cpus: Cpus = ReplicaResources().cpus

    def replica_resources(self) -> ReplicaResources:
        return self._resources(gpus=self.num_gpus, cpus=self.num_cpus)


class CreateDeployment(Body):
    """`POST /deployments`: only `modelId`, an id or a name, is required."""

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
    version: SemVerOrAlias | None = Field(
        None, description="a number or an alias, instead of versionId; without both: the newest deployable version"
    )
    strategy: Strategy | None = None
    environment: Environment = Environment.PRODUCTION
    strategy_config: dict[str, Any] = Field(default_factory=dict)
    resources: Resources | None = None
    on_conflict: OnConflict | None = Field(
        None,
        description="what to do while another deployment of the model is under way in the environment: reject "
        "(the default), queue or supersede; with startAt, queue is the default",
    )
    start_at: Time | None = Field(None, description="the earliest time of its start; absent: now")
    accept_contract_change: Flag = Field(
        False,
        description="accept that it refuses requests that the active version takes, or answers differently",
    )
    emergency: Flag = Field(
        False, description="go to 100% without a bake, since the active version is down; needs a reason and an engineer"
    )
    reason: Annotated[Text, StringConstraints(strip_whitespace=True, min_length=1)] | None = Field(
        None, description="why an emergency can't wait; the audit log keeps it"
    )

    @model_validator(mode="after")
    def _says_why_it_cannot_wait(self) -> Self:
        if self.emergency and self.reason is None:
            raise ValueError("emergency: say in reason why this version can't wait for its bakes; it is audited")
        if self.reason is not None and not self.emergency:
            raise ValueError(
                "reason: is only for an emergency; leave it out, or send it in the header X-HotSwap-Reason"
            )
        if self.emergency and self.start_at is not None:
            raise ValueError("emergency and startAt: what can wait until then can also bake; leave one of them out")
        return self

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if self.version is not None and self.version_id is not None:
            raise ValueError("give version or versionId, not both")
        if self.start_at is not None and self.on_conflict is OnConflict.REJECT:
            raise ValueError("onConflict reject and startAt: nobody would see the refusal; give queue or supersede")
        return self


class CreateFreeze(Body):
    """`POST /freezes`: it ends at `until`, or lasts for `duration`."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"environment": "Production", "until": "2026-12-27T00:00:00Z", "reason": "holidays"}
        }
    )

    environment: Environment
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]
    starts_at: Time | None = Field(None, description="absent: now")
    until: Time | None = None
    duration: Duration | None = Field(None, gt=timedelta(0), description="an ISO-8601 duration, instead of until")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.until is None) == (self.duration is None):
            raise ValueError("give either until or duration")
        return self


_IN_CONFIG = frozenset(to_camel(name) for name in ConfigResources.model_fields)


def says_resources(config: dict[str, Any], resources: Resources | None) -> bool:
    """Return whether a request asks for replicas or resources of its own."""
    return resources is not None or not _IN_CONFIG.isdisjoint(config)


def split_resources(config: dict[str, Any], resources: Resources | None) -> tuple[dict[str, Any], ReplicaResources]:
    """Return a strategy's configuration without what it says of replicas, and the resources from either place.

    Raises pydantic's ValidationError, within the configuration, and ValidationFailed for what both places say.
    """
    inside = {name: value for name, value in config.items() if name in _IN_CONFIG}
    rest = {name: value for name, value in config.items() if name not in _IN_CONFIG}
    if inside and resources is not None:
        problems = [
            FieldProblem(f"strategyConfig.{name}", "is also given in resources; give it once") for name in inside
        ]
        raise ValidationFailed("; ".join(f"{problem.field} {problem.message}" for problem in problems), *problems)
    return rest, (resources or ConfigResources.model_validate(inside)).replica_resources()
