"""A run that was replaced writes nothing: not a weight, not a status, not a route, and removes no replicas."""

import pytest

from hotswap.domain.application import Desired
from hotswap.domain.errors import Conflict, DeploymentMoved, StaleFence, Unavailable
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, TrafficChange
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.deployments.applications import PostgresApplications
from hotswap.persistence.deployments.capacity import PostgresCapacity
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from tests.fixtures.rows import CANDIDATE, STABLE, deployment_of, registered, spec, weight_of


def split(deployment: str, sequence: int, weight: int) -> TrafficChange:
    return TrafficChange(Environment.PRODUCTION, "fraud", deployment, sequence, STABLE, CANDIDATE, weight)


async def verified(sessions: Sessions, deployment: str, *, run_id: str, sequence: int, weight: int) -> None:
    await PostgresDeployments(sessions).record_weight(
        deployment, verified_weight=weight, progress=None, message="m", run_id=run_id, sequence=sequence
    )


async def test_a_weight_that_was_confirmed_before_a_later_change_is_not_recorded_after_it(sessions: Sessions) -> None:
    await registered(sessions, "2.0.0")
    deployments, plans = PostgresDeployments(sessions), PostgresTrafficPlans(sessions)
    deployment = await deployment_of(sessions, "2.0.0")
    await deployments.open(deployment, run_id="run")
    await plans.apply(split(deployment, 1, 4_000), run_id="run")
    await plans.apply(split(deployment, 2, 0), run_id="run")  # it went back while the first writer was frozen
    await verified(sessions, deployment, run_id="run", sequence=2, weight=0)
    with pytest.raises(StaleFence):
        await verified(sessions, deployment, run_id="run", sequence=1, weight=4_000)
    assert (await PostgresDeploymentReader(sessions).deployment(deployment)).verified_weight == 0


async def test_an_older_run_writes_nothing_as_soon_as_a_newer_one_is_open(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments, plans = PostgresDeployments(sessions), PostgresTrafficPlans(sessions)
    old, new = await deployment_of(sessions, "1.0.0"), await deployment_of(sessions, "2.0.0")
    await deployments.open(old, run_id="old")
    await plans.apply(split(old, 1, 1_000), run_id="old")
    await deployments.open(new, run_id="new")  # and it has written nothing yet
    before = await plans.current()
    with pytest.raises(StaleFence):
        await plans.apply(split(old, 2, TOTAL_WEIGHT), run_id="old")
    with pytest.raises(StaleFence):
        await deployments.make_active(old, split(old, 3, 0), run_id="old")
    with pytest.raises(StaleFence):
        await deployments.make_inactive(old, split(old, 4, 0), run_id="old")
    with pytest.raises((StaleFence, DeploymentMoved)):
        await deployments.transition(old, S.PROGRESSING, message="m", reason=None, actor="ann", run_id="old")
    assert await plans.current() == before


async def test_a_deployment_that_has_ended_is_not_changed_by_any_run(sessions: Sessions) -> None:
    await registered(sessions, "2.0.0")
    deployments, plans = PostgresDeployments(sessions), PostgresTrafficPlans(sessions)
    deployment = await deployment_of(sessions, "2.0.0")
    await deployments.open(deployment, run_id="run")
    told = {"message": "m", "actor": "ann", "run_id": "run"}
    await deployments.transition(deployment, S.CANCELLED, reason=Reason.ABORTED, **told)
    await deployments.transition(deployment, S.CANCELLED, reason=Reason.ABORTED, **told)
    row = await PostgresDeploymentReader(sessions).deployment(deployment)
    for run_id in ("run", "reset"):
        with pytest.raises(DeploymentMoved, match=f"{deployment} has ended as Cancelled"):
            await plans.apply(split(deployment, 1, 1_000), run_id=run_id)
        with pytest.raises(DeploymentMoved):
            await deployments.transition(
                deployment, S.ROLLING_BACK, message="m", reason=None, actor="ann", run_id=run_id
            )
        with pytest.raises(DeploymentMoved):
            await PostgresApplications(sessions).scale({CANDIDATE.application: 3}, deployment_id=deployment)
    with pytest.raises(DeploymentMoved):
        await deployments.approve(deployment, step=0, by="bob", claimed=False)
    with pytest.raises(DeploymentMoved):
        await deployments.record_decision(deployment, decision_id="1", kind="promote", actor="bob", message="m")
    assert await PostgresDeploymentReader(sessions).deployment(deployment) == row
    assert (await plans.current()).routes == ()


async def test_a_run_that_a_reset_has_made_opens_the_deployment_before_it_writes(sessions: Sessions) -> None:
    await registered(sessions, "2.0.0")
    deployments, plans = PostgresDeployments(sessions), PostgresTrafficPlans(sessions)
    deployment = await deployment_of(sessions, "2.0.0")
    await deployments.open(deployment, run_id="first")
    await plans.apply(split(deployment, 1, 4_000), run_id="first")
    with pytest.raises(DeploymentMoved, match="bound to run first"):
        await plans.apply(split(deployment, 1, 1_000), run_id="reset")
    assert weight_of(await plans.current()) == 4_000
    await deployments.open(deployment, run_id="reset")
    assert weight_of(await plans.apply(split(deployment, 1, 1_000), run_id="reset")) == 1_000
    with pytest.raises(StaleFence):
        await plans.apply(split(deployment, 2, 9_000), run_id="first")


async def test_replicas_that_a_route_names_are_not_removed(sessions: Sessions) -> None:
    applications, plans = PostgresApplications(sessions), PostgresTrafficPlans(sessions)
    for name in (STABLE.application, CANDIDATE.application):
        await applications.add(Desired.at_rest(spec(name)))
    await plans.apply(split("dep-b", 1, 1_000), run_id="run")
    for name in (STABLE.application, CANDIDATE.application):
        with pytest.raises(Conflict, match="takes part in a route"):
            await applications.remove(name)
    await plans.apply(TrafficChange(Environment.PRODUCTION, "fraud", "dep-b", 2, STABLE, None, 0), run_id="run")
    for _ in range(2):
        await applications.remove(CANDIDATE.application)
    assert [each.spec.name for each in await applications.all()] == [STABLE.application]


async def test_a_plan_removes_nothing_that_has_come_back_into_a_route(sessions: Sessions) -> None:
    applications, plans = PostgresApplications(sessions), PostgresTrafficPlans(sessions)
    warm = Arm("Production-fraud-warm", "1.0.0", "dep-w")
    await applications.add(Desired.at_rest(spec(warm.application)))
    async with PostgresCapacity(sessions).planning() as planning:
        assert [each.spare for each in await planning.holdings()] == [True]
        # Somebody rolls back to it meanwhile.
        await plans.apply(TrafficChange(Environment.PRODUCTION, "fraud", "dep-w", 1, warm, None, 0), run_id="run")
        with pytest.raises(Unavailable, match="plan anew"):
            await planning.promise(
                Desired.at_rest(spec("Production-fraud-new")), reserved=0, stable={}, retire=[warm.application]
            )
    assert await applications.one(warm.application) is not None


async def test_a_run_learns_after_which_run_it_came_however_often_it_asks(sessions: Sessions) -> None:
    await registered(sessions, "2.0.0")
    deployments = PostgresDeployments(sessions)
    deployment = await deployment_of(sessions, "2.0.0")
    followed = [(await deployments.open(deployment, run_id=run)).follows for run in ("one", "two", "two", "three")]
    assert followed == [None, "one", "one", "two"]
    assert (await PostgresDeploymentReader(sessions).deployment(deployment)).run_id == "three"
