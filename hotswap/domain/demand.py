"""The demand of a deployment, the cluster's resources, and what other deployments hold of them. Pure data."""

from collections.abc import Iterable
from dataclasses import dataclass

from hotswap.domain.resources import Amount, Cluster
from hotswap.domain.strategy import Step
from hotswap.domain.vocabulary import Environment


@dataclass(frozen=True, slots=True)
class Holding:
    """An application of HotSwap: the replicas that it has, or is promised while it is deployed.

    All traffic of its model needs `full` of them. A `spare` one is in no route and is only kept warm.
    """

    application: str
    environment: Environment
    model: str
    version: str
    team: str | None
    size: Amount
    replicas: int
    full: int
    spare: bool = False
    scales_by_load: bool = False
    reserved: int = 0

    @property
    def counted(self) -> int:
        return max(self.replicas, self.reserved)

    @property
    def amount(self) -> Amount:
        return self.size * self.counted


@dataclass(frozen=True, slots=True)
class Quota:
    """The GPUs that a team may have at a time over all its models, in ten-thousandths."""

    team: str
    gpus: int

    def used_by(self, holdings: Iterable[Holding]) -> int:
        return sum(each.amount.gpus for each in holdings if each.team == self.team)


@dataclass(frozen=True, slots=True)
class Demand:
    """Two versions that replace each other in these steps; a model's first deployment has no stable.

    The candidate's `replicas` are those that run already, for example of a version that was kept warm. If `cluster` is
    None there is room for everything: the cluster grows as needed.
    """

    candidate: Holding
    stable: Holding | None
    others: tuple[Holding, ...]
    cluster: Cluster | None
    steps: tuple[Step, ...]
    quota: Quota | None = None
    allow_recreate: bool = False

    @property
    def spare(self) -> tuple[Holding, ...]:
        """The spare applications of the same model and environment: only their room may this deployment take."""
        mine = (self.candidate.environment, self.candidate.model)
        return tuple(each for each in self.others if each.spare and (each.environment, each.model) == mine)

    @property
    def has_approvals_on_the_way(self) -> bool:
        """Return whether a step before the last one waits for an approval.

        Recreating goes to the last step at once, and must not skip an approval.
        """
        return any(step.pause is not None for step in self.steps[:-1])
