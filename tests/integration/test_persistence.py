"""The truth in PostgreSQL: fences, idempotence, promotion in one piece, an audit that nobody edits, one lease."""

import asyncio
import contextlib
import random
from itertools import pairwise

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from hotswap.domain.application import ApplicationSpec, ArtifactRef, ReplicaResources
from hotswap.domain.errors import Conflict, IllegalTransition, StaleFence
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.registry import Inspection, Registration
from hotswap.domain.traffic import FULL, Arm, TrafficChange, TrafficPlan
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment, Framework, Strategy
from hotswap.persistence import applications
from hotswap.persistence.applications import PostgresApplications
from hotswap.persistence.database import Sessions
from hotswap.persistence.deployments import PostgresDeployments
from hotswap.persistence.migrations import migrate
from hotswap.persistence.queries import NewDeployment, Queries
from hotswap.persistence.registry import PostgresRegistry
from hotswap.persistence.tables import ActiveVersion, Base
from hotswap.persistence.traffic import PostgresTrafficPlans

STABLE = Arm("Production-fraud-a", "1.0.0", "dep-a")
CANDIDATE = Arm("Production-fraud-b", "2.0.0", "dep-b")


def change(
    sequence: int, weight: int = 0, *, stable: Arm | None = STABLE, candidate: Arm | None = None
) -> TrafficChange:
    if weight and candidate is None:
        candidate = CANDIDATE
    return TrafficChange(Environment.PRODUCTION, "fraud", "dep-b", sequence, stable, candidate, weight)


def weight_of(plan: TrafficPlan) -> int:
    return plan.routes[0].candidate_weight


# --- fences -----------------------------------------------------------------------------------------------------------


async def test_the_newest_fence_wins(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)
    await plans.apply(change(1, 1_000), run_id="old")
    newer = await plans.apply(change(1, 2_000), run_id="new")
    with pytest.raises(StaleFence):
        await plans.apply(change(9, 9_000), run_id="old")
    with pytest.raises(StaleFence):
        await plans.apply(change(0, 9_000), run_id="new")
    assert weight_of(await plans.current()) == 2_000
    assert (await plans.current()).generation == newer.generation


async def test_the_same_change_again_changes_nothing(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)
    first = await plans.apply(change(1, 1_000), run_id="run")
    assert await plans.apply(change(1, 1_000), run_id="run") == first


async def test_a_removed_route_remembers_its_fence(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)
    await plans.apply(change(1, 1_000), run_id="old")
    gone = await plans.apply(change(1, stable=None), run_id="new")
    assert gone.routes == ()
    with pytest.raises(StaleFence):
        await plans.apply(change(2, 1_000), run_id="old")


async def test_generations_are_totally_ordered_under_concurrency(sessions: Sessions) -> None:
    plans = PostgresTrafficPlans(sessions)
    draw = random.Random(11)
    changes = [(f"run-{run}", sequence) for run in range(4) for sequence in range(1, 6)]
    draw.shuffle(changes)

    async def one(run_id: str, sequence: int) -> TrafficPlan | None:
        try:
            return await plans.apply(change(sequence, 100 * sequence), run_id=run_id)
        except StaleFence:
            return None

    done = [plan for plan in await asyncio.gather(*(one(*each) for each in changes)) if plan is not None]
    by_generation = {plan.generation: plan for plan in done}
    assert sorted(by_generation) == list(range(1, len(by_generation) + 1))
    fences = [by_generation[generation].routes[0].fence for generation in sorted(by_generation)]
    assert all(later.is_newer_than(earlier) for earlier, later in pairwise(fences))
    assert (await plans.current()).routes[0].fence == fences[-1]


# --- deployments ------------------------------------------------------------------------------------------------------


async def registered(sessions: Sessions, *versions: str) -> None:
    registry = PostgresRegistry(sessions)
    for number, version in enumerate(versions):
        uri = f"s3://ml-models/fraud/{version}.tar.gz"
        await registry.add_version(
            Registration("fraud", version, Framework.ONNX, uri, requested_by="ann"),
            Inspection(ArtifactRef(uri, f"{number:064x}", 10), {"type": "array"}, {}),
        )


async def deployment_of(
    sessions: Sessions, version: str, *, key: str | None = None, resources: ReplicaResources | None = None
) -> str:
    row = await Queries(sessions).create_deployment(
        NewDeployment(
            model="fraud",
            version=version,
            environment=Environment.PRODUCTION,
            strategy=Strategy.CANARY,
            strategy_config={},
            resources=resources or ReplicaResources(),
            initiated_by="ann",
            idempotency_key=key,
        )
    )
    return row.deployment.deployment_id


async def test_a_version_never_changes(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    await registered(sessions, "1.0.0")
    with pytest.raises(Conflict, match="another artifact"):
        await registered(sessions, "0.9.0", "1.0.0")


async def test_the_newest_version_is_by_semver_not_by_text(sessions: Sessions) -> None:
    await registered(sessions, "1.9.0", "1.10.0", "1.10.0-rc.1")
    assert (await Queries(sessions).version("fraud")).ref.version == "1.10.0"


async def test_an_idempotency_key_answers_the_first_deployment(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    first, again = [await deployment_of(sessions, "1.0.0", key="k") for _ in range(2)]
    assert first == again
    assert await deployment_of(sessions, "1.0.0") != first


async def test_transitions_follow_the_table_and_leave_one_audit_event_each(
    sessions: Sessions, engine: AsyncEngine
) -> None:
    await registered(sessions, "1.0.0")
    deployments, deployment = PostgresDeployments(sessions), await deployment_of(sessions, "1.0.0")
    for status in (S.VALIDATING, S.VALIDATING, S.FAILED, S.FAILED):
        await deployments.transition(deployment, status, message="m", reason="r", actor="ann")
    with pytest.raises(IllegalTransition):
        await deployments.transition(deployment, S.PROGRESSING, message="m", reason=None, actor="ann")
    async with engine.begin() as connection:
        actions = await connection.scalars(
            text("SELECT action FROM audit_events WHERE target_id = :id ORDER BY id"), {"id": deployment}
        )
        assert list(actions) == ["request rollout", "status Validating", "status Failed"]
    for statement in ("UPDATE audit_events SET actor = 'eve'", "DELETE FROM audit_events"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with engine.begin() as connection:
                await connection.execute(text(statement))


async def test_a_second_deployment_under_way_is_a_conflict(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    deployments = PostgresDeployments(sessions)
    first, second = [await deployment_of(sessions, "1.0.0") for _ in range(2)]
    await deployments.transition(first, S.VALIDATING, message="m", reason=None, actor="ann")
    with pytest.raises(Conflict, match="another deployment of its model"):
        await deployments.transition(second, S.VALIDATING, message="m", reason=None, actor="ann")


async def test_a_run_closes_what_lost_its_own(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    deployments, queries = PostgresDeployments(sessions), Queries(sessions)
    lost, waiting, following = [await deployment_of(sessions, "1.0.0") for _ in range(3)]
    await deployments.open(lost, run_id="run-1")
    await deployments.transition(lost, S.VALIDATING, message="m", reason=None, actor="ann")
    brief = await deployments.open(following, run_id="run-2")
    assert (brief.status, brief.is_split) == (S.PENDING, False)
    await deployments.transition(following, S.VALIDATING, message="m", reason=None, actor="ann")
    row = (await queries.deployment(lost)).deployment
    assert (row.status, row.reason) == (S.FAILED, Reason.WORKFLOW_LOST)
    assert (await queries.deployment(waiting)).deployment.status == S.PENDING
    late = await deployments.open(lost, run_id="run-3")
    assert late.status == S.FAILED
    assert (await queries.deployment(lost)).deployment.run_id == "run-1"


async def test_promotion_moves_pointer_and_route_together_and_back(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments, queries = PostgresDeployments(sessions), Queries(sessions)
    first, second = await deployment_of(sessions, "1.0.0"), await deployment_of(sessions, "2.0.0")

    def relabel(sequence: int, deployment: str, arm: Arm) -> TrafficChange:
        return TrafficChange(Environment.PRODUCTION, "fraud", deployment, sequence, arm, None, 0)

    for _ in range(2):
        await deployments.make_active(first, relabel(1, first, STABLE), run_id="run-1")
    for _ in range(2):
        plan = await deployments.make_active(second, relabel(1, second, CANDIDATE), run_id="run-2")
    assert plan.routes[0].stable == CANDIDATE
    assert (await queries.model("fraud")).model.active_version == "2.0.0"
    with pytest.raises(StaleFence):
        await deployments.make_active(first, relabel(2, first, STABLE), run_id="run-1")
    assert (await queries.model("fraud")).model.active_version == "2.0.0"
    for _ in range(2):
        plan = await deployments.make_inactive(second, relabel(2, second, STABLE), run_id="run-2")
    assert plan.routes[0].stable == STABLE
    assert (await queries.model("fraud")).active_versions == {Environment.PRODUCTION: "1.0.0"}


def relabelled(sequence: int, deployment: str, arm: Arm) -> TrafficChange:
    return TrafficChange(Environment.PRODUCTION, "fraud", deployment, sequence, arm, None, 0)


async def status_of(sessions: Sessions, version: str) -> str:
    return (await Queries(sessions).version("fraud", version)).version.status


async def actions(sessions: Sessions, target: str) -> list[str]:
    async with sessions() as session:
        found = text("SELECT action FROM audit_events WHERE target_id = :id ORDER BY id")
        return list(await session.scalars(found, {"id": target}))


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
        await deployments.record_weight(deployment, verified_weight=FULL, progress=100, message="100%")
        if deployment == first:
            await deployments.transition(first, S.ACTIVE, message="serves", reason=Reason.COMPLETED, actor="ann")
    return first, second


async def test_a_deployment_says_what_it_has_of_the_traffic_also_after_its_end(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments, queries = PostgresDeployments(sessions), Queries(sessions)
    first, second = await deployment_of(sessions, "1.0.0"), await deployment_of(sessions, "2.0.0")

    async def shares() -> list[int]:
        return [(await queries.deployment(each)).deployment.traffic_percentage for each in (first, second)]

    await deployments.make_active(first, relabelled(1, first, STABLE), run_id="run-1")
    await deployments.record_weight(first, verified_weight=FULL, progress=100, message="m")
    assert await shares() == [100, 0]
    for weight, expected in ((2_500, [75, 25]), (0, [100, 0]), (FULL, [0, 100])):
        await deployments.record_weight(second, verified_weight=weight, progress=None, message="m")
        assert await shares() == expected
    await deployments.make_active(second, relabelled(1, second, CANDIDATE), run_id="run-2")
    await deployments.record_weight(second, verified_weight=FULL, progress=100, message="m")
    assert await shares() == [0, 100]
    await deployments.make_inactive(second, relabelled(2, second, STABLE), run_id="run-2")
    await deployments.record_weight(second, verified_weight=0, progress=None, message="m")
    assert await shares() == [100, 0]


async def test_what_was_replaced_says_by_what_and_its_version_can_be_deployed_again(sessions: Sessions) -> None:
    first, second = await two_promoted(sessions)
    replaced = (await Queries(sessions).deployment(first)).deployment
    assert (replaced.status, replaced.reason, replaced.verified_weight) == (S.ACTIVE, Reason.REPLACED, 0)
    assert second in (replaced.message or "")
    assert (await status_of(sessions, "1.0.0"), await status_of(sessions, "2.0.0")) == ("Validated", "Deployed")


async def test_a_promotion_taken_back_leaves_its_history(sessions: Sessions) -> None:
    first, second = await two_promoted(sessions)
    for _ in range(2):
        await PostgresDeployments(sessions).make_inactive(second, relabelled(2, second, STABLE), run_id="run-1")
    again = (await Queries(sessions).deployment(first)).deployment
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
    version = (await Queries(sessions).version("fraud", "2.0.0")).version
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


async def test_every_change_is_audited_once_however_often_it_is_written(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    deployments, plans = PostgresDeployments(sessions), PostgresTrafficPlans(sessions)
    deployment = await deployment_of(sessions, "1.0.0")
    split = TrafficChange(Environment.PRODUCTION, "fraud", deployment, 1, STABLE, CANDIDATE, 1_000)
    for _ in range(2):
        await plans.apply(split, run_id="run")
        await deployments.record_weight(deployment, verified_weight=1_000, progress=10, message="10%")
        await deployments.record_decision(deployment, decision_id="1", kind="promote", actor="bob", message="go on")
        await deployments.approve(deployment, step=2, by="bob", claimed=False)
    await deployments.record_decision(deployment, decision_id="2", kind="promote", actor="bob", message="go on")
    assert await actions(sessions, deployment) == [
        "request rollout",
        "change route",
        "weight verified",
        "promote",
        "approve",
        "promote",
    ]
    async with sessions() as session:
        assert list(await session.scalars(text("SELECT step FROM approvals"))) == [2]


@pytest.mark.parametrize("status", ["Archived", "Deprecated"])
async def test_what_is_out_of_use_is_not_approved(sessions: Sessions, status: str) -> None:
    await registered(sessions, "1.0.0")
    deployment = await deployment_of(sessions, "1.0.0")
    async with sessions.begin() as session:
        await session.execute(text("UPDATE model_versions SET status = :status"), {"status": status})
    with pytest.raises(Conflict, match=status):
        await PostgresDeployments(sessions).approve(deployment, step=0, by="bob", claimed=False)
    assert await status_of(sessions, "1.0.0") == status


async def test_a_cancelled_deployment_is_not_done(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    deployment = await deployment_of(sessions, "1.0.0")
    await PostgresDeployments(sessions).transition(
        deployment, S.CANCELLED, message="m", reason=Reason.ABORTED, actor="ann"
    )
    assert (await Queries(sessions).deployment(deployment)).deployment.progress_percentage == 0


async def test_runs_that_open_and_promote_at_once_never_wait_for_each_other(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments = PostgresDeployments(sessions)
    first, second = await deployment_of(sessions, "1.0.0"), await deployment_of(sessions, "2.0.0")

    async def work(deployment: str, arm: Arm, run_id: str) -> None:
        for sequence in range(1, 21):
            await deployments.open(deployment, run_id=run_id)
            with contextlib.suppress(StaleFence):
                await deployments.make_active(deployment, relabelled(sequence, deployment, arm), run_id=run_id)
            await deployments.record_weight(deployment, verified_weight=FULL, progress=None, message="m")

    work_of = [(first, STABLE, "run-1"), (second, CANDIDATE, "run-2"), (first, STABLE, "run-3")]
    await asyncio.gather(*(work(*each) for each in work_of))


async def test_a_key_used_for_other_resources_is_a_conflict(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    await deployment_of(sessions, "1.0.0", key="k")
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await deployment_of(sessions, "1.0.0", key="k", resources=ReplicaResources(replicas=3))


async def test_a_run_reads_what_serves_and_what_is_warm(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments, plans = PostgresDeployments(sessions), PostgresTrafficPlans(sessions)
    await plans.apply(change(1), run_id="before")
    await PostgresApplications(sessions).add(spec("Production-fraud-warm"))
    deployment = await deployment_of(sessions, "2.0.0")
    brief = await deployments.open(deployment, run_id="run")
    assert (brief.stable, brief.warm) == (STABLE, Arm("Production-fraud-warm", "2.0.0", "dep-w"))
    assert weight_of(await plans.apply(change(1, FULL), run_id="run")) == FULL
    with pytest.raises(StaleFence):
        await plans.apply(change(2), run_id="before")


# --- applications -----------------------------------------------------------------------------------------------------


def spec(name: str) -> ApplicationSpec:
    artifact = ArtifactRef("s3://ml-models/fraud/2.tar.gz", "0" * 64, 1)
    return ApplicationSpec(
        name, "dep-w", Environment.PRODUCTION, "fraud", "2.0.0", Framework.ONNX, artifact, {"type": "array"}, {}
    )


async def test_what_is_set_aside_is_left_out(sessions: Sessions) -> None:
    desired = PostgresApplications(sessions)
    for name in ("b", "a", "a"):
        await desired.add(spec(name))
    await desired.set_aside("b", "it makes the PUT fail")
    assert await desired.all() == [spec("a")]
    await desired.remove("a")
    assert await desired.all() == []


async def test_the_lease_has_one_holder_and_a_late_one_learns_that_it_lost(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    desired = PostgresApplications(sessions)
    async with desired.writer_lease("first") as lease:
        assert 12 < await lease.remaining() <= 15
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5), desired.writer_lease("second"):
                pass
    monkeypatch.setattr(applications, "LEASE_SECONDS", 0)
    async with desired.writer_lease("frozen") as lost:
        await asyncio.sleep(0.05)
        async with desired.writer_lease("quicker"):
            assert await lost.remaining() == 0


# --- schema -----------------------------------------------------------------------------------------------------------


async def test_the_migrations_make_what_the_tables_say(postgres_url: str) -> None:
    migrate(postgres_url)
    engine = create_engine(postgres_url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert [each for each in differences if "inference_requests_default" not in str(each)] == []
