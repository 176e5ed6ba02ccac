"""Which version is active: promotion moves it with the route, in one piece and back, and leaves a history."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from hotswap.domain.errors import ModelNotFound, StaleFence
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.paging import Window
from hotswap.domain.traffic import TOTAL_WEIGHT
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment
from hotswap.persistence.deployments.activation_history import PostgresActivationHistory
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.reading import PostgresRegistryReader
from hotswap.persistence.tables import ActiveVersion, Deployment
from tests.fixtures.rows import CANDIDATE, STABLE, actions, deployment_of, registered, relabelled, status_of


async def test_promotion_moves_pointer_and_route_together_and_back(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments, registry = PostgresDeployments(sessions), PostgresRegistryReader(sessions)
    first, second = await deployment_of(sessions, "1.0.0"), await deployment_of(sessions, "2.0.0")

    for _ in range(2):
        await deployments.make_active(first, relabelled(1, first, STABLE), run_id="run-1")
    for _ in range(2):
        plan = await deployments.make_active(second, relabelled(1, second, CANDIDATE), run_id="run-2")
    assert plan.routes[0].stable == CANDIDATE
    assert (await registry.model("fraud")).model.active_version == "2.0.0"
    with pytest.raises(StaleFence):
        await deployments.make_active(first, relabelled(2, first, STABLE), run_id="run-1")
    assert (await registry.model("fraud")).model.active_version == "2.0.0"
    for _ in range(2):
        plan = await deployments.make_inactive(second, relabelled(2, second, STABLE), run_id="run-2")
    assert plan.routes[0].stable == STABLE
    assert (await registry.model("fraud")).active_versions == {Environment.PRODUCTION: "1.0.0"}


async def two_promoted(sessions: Sessions) -> tuple[str, str]:
    """1.0.0 was promoted, then 2.0.0 in its place."""
    await registered(sessions, "1.0.0", "2.0.0")
    deployments = PostgresDeployments(sessions)
    first, second = await deployment_of(sessions, "1.0.0"), await deployment_of(sessions, "2.0.0")
    for run, (deployment, arm) in enumerate(((first, STABLE), (second, CANDIDATE))):
        for status in (S.DEPLOYING, S.PROGRESSING, S.PROMOTING):
            await deployments.transition(deployment, status, message="m", reason=None, actor="ann")
        if deployment == second:
            await deployments.record_weight(second, verified_weight=2_500, progress=25, message="25%")
        await deployments.make_active(deployment, relabelled(1, deployment, arm), run_id=f"run-{run}")
        await deployments.record_weight(deployment, verified_weight=TOTAL_WEIGHT, progress=100, message="100%")
        if deployment == first:
            await deployments.transition(first, S.ACTIVE, message="serves", reason=Reason.COMPLETED, actor="ann")
    return first, second


async def test_a_deployment_says_what_it_has_of_the_traffic_also_after_its_end(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments, reader = PostgresDeployments(sessions), PostgresDeploymentReader(sessions)
    first, second = await deployment_of(sessions, "1.0.0"), await deployment_of(sessions, "2.0.0")

    async def shares() -> list[int]:
        read = [(await reader.deployment(each)).verified_weight / 100 for each in (first, second)]
        async with sessions() as session:
            shown = [(await session.get_one(Deployment, each)).traffic_percentage for each in (first, second)]
        assert read == shown
        return shown

    await deployments.make_active(first, relabelled(1, first, STABLE), run_id="run-1")
    await deployments.record_weight(first, verified_weight=TOTAL_WEIGHT, progress=100, message="m")
    assert await shares() == [100, 0]
    for weight, expected in ((2_500, [75, 25]), (0, [100, 0]), (TOTAL_WEIGHT, [0, 100])):
        await deployments.record_weight(second, verified_weight=weight, progress=None, message="m")
        assert await shares() == expected
    await deployments.make_active(second, relabelled(1, second, CANDIDATE), run_id="run-2")
    await deployments.record_weight(second, verified_weight=TOTAL_WEIGHT, progress=100, message="m")
    assert await shares() == [0, 100]
    await deployments.make_inactive(second, relabelled(2, second, STABLE), run_id="run-2")
    await deployments.record_weight(second, verified_weight=0, progress=None, message="m")
    assert await shares() == [100, 0]


async def test_what_was_replaced_says_by_what_and_its_version_can_be_deployed_again(sessions: Sessions) -> None:
    first, second = await two_promoted(sessions)
    replaced = await PostgresDeploymentReader(sessions).deployment(first)
    assert (replaced.status, replaced.reason, replaced.verified_weight) == (S.ACTIVE, Reason.REPLACED, 0)
    assert second in (replaced.message or "")
    assert (await status_of(sessions, "1.0.0"), await status_of(sessions, "2.0.0")) == ("Validated", "Deployed")


async def test_a_promotion_taken_back_leaves_its_history(sessions: Sessions) -> None:
    first, second = await two_promoted(sessions)
    for _ in range(2):
        await PostgresDeployments(sessions).make_inactive(second, relabelled(2, second, STABLE), run_id="run-1")
    again = await PostgresDeploymentReader(sessions).deployment(first)
    assert (again.status, again.reason) == (S.ACTIVE, Reason.COMPLETED)
    assert (await status_of(sessions, "1.0.0"), await status_of(sessions, "2.0.0")) == ("Deployed", "Validated")
    async with sessions() as session:
        history = await session.execute(text("SELECT deployment_id, until IS NULL FROM active_versions ORDER BY id"))
        assert [tuple(row) for row in history] == [(first, False), (second, False), (first, True)]
    assert [each for each in await actions(sessions, second) if each.startswith("make")] == [
        "make active",
        "make inactive",
    ]


async def test_a_version_that_serves_elsewhere_stays_deployed(sessions: Sessions) -> None:
    first, second = await two_promoted(sessions)
    version = (await PostgresRegistryReader(sessions).version("fraud", "2.0.0")).version
    async with sessions.begin() as session:
        session.add(
            ActiveVersion(
                model_id=version.model_id,
                environment=Environment.STAGING,
                version_id=version.version_id,
                deployment_id=first,
                application="a",
            )
        )
    await PostgresDeployments(sessions).make_inactive(second, relabelled(2, second, STABLE), run_id="run-1")
    assert await status_of(sessions, "2.0.0") == "Deployed"


async def test_what_served_at_any_time_is_known_with_who_put_it_there(sessions: Sessions) -> None:
    first, second = await two_promoted(sessions)
    await PostgresDeployments(sessions).approve(second, step=0, by="bob", claimed=False)
    activation_history = PostgresActivationHistory(sessions)
    newest, oldest = (await activation_history.history("fraud")).items
    assert (newest.version, newest.deployment_id, newest.initiated_by) == ("2.0.0", second, "ann")
    assert (newest.approved_by, newest.until) == (("bob",), None)
    assert (oldest.version, oldest.deployment_id, oldest.until) == ("1.0.0", first, newest.since)
    just_before = newest.since - timedelta(microseconds=1)
    for at, served in ((just_before, [oldest]), (newest.since, [newest]), (oldest.since - timedelta(days=1), [])):
        assert list((await activation_history.history("fraud", at=at)).items) == served
    assert (await activation_history.history("fraud", environment=Environment.STAGING)).total == 0
    page = await activation_history.history("fraud", window=Window(limit=1, offset=1))
    assert (page.items, page.total) == ((oldest,), 2)
    with pytest.raises(ModelNotFound):
        await activation_history.history("nothing")
