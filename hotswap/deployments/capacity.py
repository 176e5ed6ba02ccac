"""Asks what there is and who holds what of it, and has a plan made: for the API, which only looks, and the workflow.

The API's look refuses early and promises nothing. The workflow's plan is what counts: it is made right before replicas
start, since the cluster may be another by then, and what it takes is promised in the same transaction.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from hotswap.domain.application import ApplicationSpec, Desired, ReplicaResources
from hotswap.domain.capacity import CapacityPlan, Mode, size_of
from hotswap.domain.demand import Demand, Holding, Quota
from hotswap.domain.errors import Unavailable
from hotswap.domain.planning import Planned, make_plan
from hotswap.domain.resources import WHOLE
from hotswap.domain.strategy import Step, immediate_steps
from hotswap.domain.vocabulary import Environment
from hotswap.ports import Capacity, ClusterState, Planning, ServeCluster

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CapacityRules:
    """The capacity rules of the settings. A cluster that `grows` adds nodes when asked, so there is always room."""

    team_gpus: Mapping[str, float] = field(default_factory=dict)
    cluster_grows: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A candidate, the application that is the stable (if there is one), and the steps between the two.

    Its own `application` is None where it isn't known yet; then one of that version that is warm counts as it, if it
    `may_be_warm`.
    """

    application: str | None
    environment: Environment
    model: str
    version: str
    resources: ReplicaResources
    stable: str | None
    steps: tuple[Step, ...]
    allow_recreate: bool = False
    may_be_warm: bool = False


class Planner:
    def __init__(
        self, capacity: Capacity, serve: ServeCluster, cluster: ClusterState, rules: CapacityRules | None = None
    ) -> None:
        self._capacity = capacity
        self._serve = serve
        self._cluster = cluster
        self._rules = rules or CapacityRules()

    async def look(self, wanted: Wanted) -> CapacityPlan | None:
        """Make the plan as it would be now; None while Ray doesn't say what it has.

        Raises ValidationFailed for what could never fit, InsufficientCapacity for what doesn't now, and Unavailable.
        """
        holdings, team = await self._capacity.holdings(), await self._capacity.team(wanted.model)
        try:
            demand = await self._demand(wanted, holdings, team)
        except Unavailable as error:
            logger.warning("the capacity could not be looked at", extra={"error": error.message})
            return None
        return make_plan(demand).plan

    async def plan(
        self,
        spec: ApplicationSpec,
        *,
        stable: str | None,
        steps: tuple[Step, ...],
        allow_recreate: bool = False,
        deployment_id: str | None = None,
    ) -> Planned:
        """Make the plan and promise what it takes; a second call answers the same. Raises as `look` does."""
        wanted = Wanted(
            application=spec.name,
            environment=spec.environment,
            model=spec.model,
            version=spec.version,
            resources=spec.resources,
            stable=stable,
            steps=steps,
            allow_recreate=allow_recreate,
        )
        async with self._capacity.planning() as planning:
            demand = await self._demand(wanted, await planning.holdings(), await planning.team(wanted.model))
            planned = make_plan(demand)
            await _promise(planning, spec, demand, planned, deployment_id)
        return planned

    async def scale(
        self, application: str, *, deployment_id: str, replicas: int, by: str, reason: str | None = None
    ) -> Desired:
        """Promise an application that serves so many replicas, all others staying as they are; answers how it was.

        Raises as `look` does, Conflict while a deployment is under way there, and NotFound.
        """
        async with self._capacity.planning() as planning:
            before = await planning.resize(
                application, deployment_id=deployment_id, replicas=replicas, by=by, reason=reason
            )
            held = {each.application: each for each in await self._as_many_as_run(await planning.holdings())}
            asked = held.pop(application)
            if replicas > before.replicas:
                alone = replace(asked, replicas=0, full=replicas)
                others = tuple(held.values())
                make_plan(await self._among(alone, None, others, steps=immediate_steps(), allow_recreate=False))
        return before

    async def _demand(self, wanted: Wanted, holdings: Sequence[Holding], team: str | None) -> Demand:
        held = {each.application: each for each in await self._as_many_as_run(holdings)}
        stable = held.pop(wanted.stable, None) if wanted.stable is not None else None
        known = held.pop(wanted.application or _warm(wanted, held.values()), None)
        candidate = Holding(
            application=known.application if known is not None else wanted.application or "",
            environment=wanted.environment,
            model=wanted.model,
            version=wanted.version,
            team=team,
            size=size_of(wanted.resources),
            replicas=known.replicas if known is not None else 0,
            full=_full(wanted.resources, stable),
            scales_by_load=wanted.resources.scales_by_load,
        )
        return await self._among(
            candidate, stable, tuple(held.values()), steps=wanted.steps, allow_recreate=wanted.allow_recreate
        )

    async def _among(
        self,
        candidate: Holding,
        stable: Holding | None,
        others: tuple[Holding, ...],
        *,
        steps: tuple[Step, ...],
        allow_recreate: bool,
    ) -> Demand:
        cluster = None if self._rules.cluster_grows else await self._cluster.resources()
        if cluster is not None and not cluster.nodes:
            raise Unavailable("Ray shows no node that is alive, so nothing can be planned; try again when it does")
        team = candidate.team
        quota = None
        if team is not None and team in self._rules.team_gpus:
            quota = Quota(team, round(self._rules.team_gpus[team] * WHOLE))
        return Demand(candidate, stable, others, cluster, steps, quota, allow_recreate)

    async def _as_many_as_run(self, holdings: Sequence[Holding]) -> list[Holding]:
        """Return the holdings with the replicas that run: those that scale by load may have more than the fewest.

        All of the traffic needs as many just now.
        """
        if not any(each.scales_by_load for each in holdings):
            return list(holdings)
        running = await self._serve.applications()
        return [
            _as_run(each, len(state.targets)) if (state := running.get(each.application)) else each for each in holdings
        ]


def _warm(wanted: Wanted, holdings: Iterable[Holding]) -> str:
    of_it = [
        each.application
        for each in holdings
        if (each.environment, each.model, each.version) == (wanted.environment, wanted.model, wanted.version)
    ]
    return of_it[-1] if wanted.may_be_warm and of_it else ""


def _as_run(holding: Holding, ready: int) -> Holding:
    if not holding.scales_by_load:
        return holding
    return replace(holding, replicas=max(holding.replicas, ready), full=max(holding.replicas, ready))


def _full(resources: ReplicaResources, stable: Holding | None) -> int:
    """Return the replicas that all of the traffic needs: as many as a stable that scales by load has now."""
    if resources.max_replicas is None or stable is None or not stable.scales_by_load:
        return resources.replicas
    return min(max(resources.replicas, stable.full), resources.max_replicas)


async def _promise(
    planning: Planning, spec: ApplicationSpec, demand: Demand, planned: Planned, deployment_id: str | None
) -> None:
    plan = planned.plan
    await planning.promise(
        Desired(spec, plan.candidate, plan.candidate_full),
        # What later steps add beside a stable in full; what they add in a stable's place is changed in one breath.
        reserved=0 if plan.mode is Mode.RECREATE else plan.most_candidates(stable=plan.stable),
        stable={demand.stable.application: plan.stable} if demand.stable is not None else {},
        retire=planned.retire,
        deployment_id=deployment_id,
    )
