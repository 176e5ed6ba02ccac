"""Who holds what of the cluster, by the rows; and that no two deployments are promised the same GPU."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest
from sqlalchemy import text

from hotswap.deployments.capacity import CapacityRules, Planner, Wanted
from hotswap.domain.application import ApplicationSpec, Desired, ReplicaResources
from hotswap.domain.capacity import Mode
from hotswap.domain.errors import Conflict, InsufficientCapacity, ValidationFailed
from hotswap.domain.strategy import canary_steps, immediate_steps
from hotswap.domain.traffic import Arm
from hotswap.persistence.deployments.applications import PostgresApplications
from hotswap.persistence.deployments.capacity import PostgresCapacity
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from tests.fixtures.api import FakeRay
from tests.fixtures.rows import change, deployment_of, registered, spec

STEPS = canary_steps(canary_percentage=50, increment_step=50, bake_seconds=1, deadline_seconds=1)


def application(name: str, replicas: int = 1, *, gpus: float = 1.0, model: str = "fraud") -> ApplicationSpec:
    return replace(spec(name), model=model, resources=ReplicaResources(replicas=replicas, gpus=gpus))


def planner(sessions: Sessions, gpus: float, *, team_gpus: Mapping[str, float] = MappingProxyType({})) -> Planner:
    ray = FakeRay(gpus)
    return Planner(PostgresCapacity(sessions), ray, ray, CapacityRules(team_gpus=team_gpus))


async def serving(sessions: Sessions, of: ApplicationSpec) -> None:
    """Routed as the stable, as if it had been deployed before."""
    await PostgresApplications(sessions).add(Desired.at_rest(of))
    arm = Arm(of.name, of.version, of.deployment_id)
    routed = replace(change(1, stable=arm), model=of.model)
    await PostgresTrafficPlans(sessions).apply(routed, run_id=f"run-{of.name}")


async def test_no_two_are_promised_the_same_gpu(sessions: Sessions) -> None:
    """Five models' first deployments, each by a planner of its own, on three GPUs."""
    specs = [application(f"Production-m{number}-1", model=f"m{number}") for number in range(5)]
    planned = await asyncio.gather(
        *(planner(sessions, 3).plan(each, stable=None, steps=immediate_steps()) for each in specs),
        return_exceptions=True,
    )
    refused = [each for each in planned if isinstance(each, InsufficientCapacity)]
    assert len(refused) == 2
    assert "= 4 GPUs of 3 GPUs that the cluster has" in refused[0].message
    assert len(await PostgresApplications(sessions).all()) == 3, "what was refused left no row"


async def test_a_plan_made_again_answers_the_same(sessions: Sessions) -> None:
    stable, candidate = application("Production-fraud-a", 2), application("Production-fraud-b", 2)
    await serving(sessions, stable)
    first = await planner(sessions, 3).plan(candidate, stable=stable.name, steps=STEPS)
    again = await planner(sessions, 3).plan(candidate, stable=stable.name, steps=STEPS)
    assert first.plan.mode is Mode.STEPWISE
    assert again == first
    rows = {each.spec.name: (each.replicas, each.full) for each in await PostgresApplications(sessions).all()}
    assert rows == {stable.name: (2, 2), candidate.name: (1, 2)}


async def test_what_later_steps_need_is_reserved_as_long_as_the_deployment_is_under_way(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployment_id = await deployment_of(sessions, "2.0.0")
    await PostgresDeployments(sessions).open(deployment_id, run_id="run-1")
    stable, candidate = application("Production-fraud-a", 2), application("Production-fraud-b", 2)
    await serving(sessions, stable)
    steps = (replace(STEPS[0], candidate_replicas=1), STEPS[1])
    planned = await planner(sessions, 4).plan(candidate, stable=stable.name, steps=steps)
    assert planned.plan.candidate == 1
    other = application("Production-churn-1", model="churn")
    with pytest.raises(InsufficientCapacity, match="Production-fraud-b 2 GPUs"):
        await planner(sessions, 4).plan(other, stable=None, steps=immediate_steps())
    held = {each.application: each.counted for each in await PostgresCapacity(sessions).holdings()}
    assert held == {stable.name: 2, candidate.name: 2}


async def test_a_version_only_kept_warm_goes_where_its_own_model_needs_the_room(sessions: Sessions) -> None:
    stable, old = application("Production-fraud-a"), application("Production-fraud-old")
    await serving(sessions, stable)
    await PostgresApplications(sessions).add(Desired.at_rest(old))
    candidate = application("Production-fraud-b")
    planned = await planner(sessions, 2).plan(candidate, stable=stable.name, steps=STEPS)
    assert planned.retire == (old.name,)
    names = [each.spec.name for each in await PostgresApplications(sessions).all()]
    assert names == [stable.name, candidate.name]


async def test_a_teams_quota_counts_all_its_models(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    async with sessions.begin() as session:
        await session.execute(text("UPDATE models SET team = 'risk'"))
    stable = application("Production-fraud-a")
    await serving(sessions, stable)
    candidate = application("Production-fraud-b")
    asked = Wanted(
        application=candidate.name,
        environment=candidate.environment,
        model=candidate.model,
        version=candidate.version,
        resources=candidate.resources,
        stable=stable.name,
        steps=STEPS,
    )
    within = await planner(sessions, 8, team_gpus={"risk": 2}).look(asked)
    assert within is not None
    assert within.mode is Mode.SURGE
    with pytest.raises(InsufficientCapacity, match="which is what team risk may have"):
        await planner(sessions, 8, team_gpus={"risk": 1.5}).look(asked)
    unlimited = await planner(sessions, 8, team_gpus={"ads": 0}).look(asked)
    assert unlimited is not None
    assert unlimited.mode is Mode.SURGE


async def test_what_serves_is_scaled_where_there_is_room_and_nobody_counts_on_it(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    serves = await deployment_of(sessions, "1.0.0", resources=ReplicaResources(replicas=1, gpus=1))
    stable = application("Production-fraud-a")
    await serving(sessions, stable)
    scale = planner(sessions, 3).scale
    before = await scale(stable.name, deployment_id=serves, replicas=3, by="ann", reason="a sale")
    assert (before.replicas, before.full) == (1, 1)
    [now] = await PostgresApplications(sessions).all()
    assert (now.replicas, now.full) == (3, 3)
    assert (await PostgresDeploymentReader(sessions).deployment(serves)).resources.replicas == 3
    with pytest.raises(ValidationFailed, match="4 x 1 GPU can never fit: the whole cluster has 3 GPUs"):
        await scale(stable.name, deployment_id=serves, replicas=4, by="ann")
    await PostgresApplications(sessions).add(Desired.at_rest(application("Production-churn-1", model="churn")))
    with pytest.raises(InsufficientCapacity, match=r"4 x 1 GPU \+ Production-churn-1 1 GPU = 5 GPUs of 4 GPUs"):
        await planner(sessions, 4).scale(stable.name, deployment_id=serves, replicas=4, by="ann")
    still = await PostgresApplications(sessions).one(stable.name)
    assert still is not None
    assert still.replicas == 3, "what was refused changed nothing"
    coming = await deployment_of(sessions, "2.0.0")
    await PostgresDeployments(sessions).open(coming, run_id="run-2")
    with pytest.raises(Conflict, match=coming):
        await scale(stable.name, deployment_id=serves, replicas=2, by="ann")
