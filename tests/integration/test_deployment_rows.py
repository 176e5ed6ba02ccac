"""Deployments as rows: statuses along their table, one audit event each, one under way, lost runs closed."""

import asyncio
import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from hotswap.domain.application import Desired, ReplicaResources
from hotswap.domain.deployments import NewDeployment
from hotswap.domain.errors import Conflict, DeploymentMoved, Forbidden, IllegalTransition, StaleFence
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.recording import RecordFeatures, Recording
from hotswap.domain.traffic import TOTAL_WEIGHT, Arm, TrafficChange
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Environment, Strategy
from hotswap.persistence.deployments.applications import PostgresApplications
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.platform.audit import PostgresAudit
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.reading import PostgresRegistryReader
from hotswap.persistence.tables import Model
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from tests.fixtures.api import make_acceptance
from tests.fixtures.api_settings import make_settings
from tests.fixtures.rows import (
    CANDIDATE,
    STABLE,
    actions,
    change,
    deployment_of,
    registered,
    relabelled,
    spec,
    status_of,
    weight_of,
)


async def test_a_version_never_changes(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    await registered(sessions, "1.0.0")
    with pytest.raises(Conflict, match="another artifact"):
        await registered(sessions, "0.9.0", "1.0.0")


async def test_who_says_that_a_model_is_idempotent_or_not_is_audited(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", idempotent=False)
    model = (await PostgresRegistryReader(sessions).model("fraud")).model
    assert (model.is_idempotent, await actions(sessions, model.model_id)) == (False, [])
    for _ in range(2):
        await registered(sessions, "1.1.0", idempotent=True)
        assert await actions(sessions, model.model_id) == ["change model"]
    await registered(sessions, "1.0.0", idempotent=False)
    assert (await PostgresRegistryReader(sessions).model("fraud")).model.is_idempotent, "that one was registered before"


async def test_the_newest_version_is_by_semver_not_by_text(sessions: Sessions) -> None:
    await registered(sessions, "1.9.0", "1.10.0", "1.10.0-rc.1")
    assert (await PostgresRegistryReader(sessions).version("fraud")).ref.version == "1.10.0"


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


async def test_a_deployment_has_what_its_models_records_keep_when_it_is_opened(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    deployment = await deployment_of(sessions, "1.0.0")
    async with sessions.begin() as session:
        model = await session.scalar(select(Model))
        assert model is not None
        model.record_features, model.drop_fields = RecordFeatures.SAMPLE, ["ssn"]
    brief = await PostgresDeployments(sessions).open(deployment, run_id="run-1")
    assert brief.application_spec(warmup_timeout_seconds=1).recording == Recording(RecordFeatures.SAMPLE, 0.1, ("ssn",))


async def test_a_run_closes_what_lost_its_own(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    deployments, reader = PostgresDeployments(sessions), PostgresDeploymentReader(sessions)
    lost, waiting, following = [await deployment_of(sessions, "1.0.0") for _ in range(3)]
    await deployments.open(lost, run_id="run-1")
    await deployments.transition(lost, S.VALIDATING, message="m", reason=None, actor="ann")
    brief = await deployments.open(following, run_id="run-2")
    assert (brief.status, brief.is_split) == (S.PENDING, False)
    await deployments.transition(following, S.VALIDATING, message="m", reason=None, actor="ann")
    row = await reader.deployment(lost)
    assert (row.status, row.reason) == (S.FAILED, Reason.WORKFLOW_LOST)
    assert (await reader.deployment(waiting)).status == S.PENDING
    late = await deployments.open(lost, run_id="run-3")
    assert late.status == S.FAILED
    assert (await reader.deployment(lost)).run_id == "run-1"


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


async def test_an_approval_is_proven_by_the_apis_own_record_of_it_and_for_one_step(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0")
    deployments, audit = PostgresDeployments(sessions), PostgresAudit(sessions)
    deployment = await deployment_of(sessions, "1.0.0")
    proof = await audit.vouch(deployment, by="bob", verb="approve", reason="tested")
    await deployments.check_proof(deployment, step=0, by="bob", proof=proof)
    for by, of, given in (
        ("eve", deployment, proof),
        ("bob", "dep-other", proof),
        ("bob", deployment, None),
        ("bob", deployment, f"{deployment}/1"),
    ):
        with pytest.raises(Forbidden, match=f"nothing proves that {by} approved {of}"):
            await deployments.check_proof(of, step=0, by=by, proof=given)
    await deployments.approve(deployment, step=0, by="bob", claimed=False, reason="tested", proof=proof)
    await deployments.check_proof(deployment, step=0, by="bob", proof=proof)  # tried again by its activity
    with pytest.raises(Forbidden, match="another step"):
        await deployments.check_proof(deployment, step=1, by="bob", proof=proof)


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
    assert (await PostgresDeploymentReader(sessions).deployment(deployment)).progress_percentage == 0


async def test_runs_that_open_and_promote_at_once_never_wait_for_each_other(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments = PostgresDeployments(sessions)
    first, second = await deployment_of(sessions, "1.0.0"), await deployment_of(sessions, "2.0.0")

    async def work(deployment: str, arm: Arm, run_id: str) -> None:
        for sequence in range(1, 21):
            await deployments.open(deployment, run_id=run_id)
            with contextlib.suppress(StaleFence, DeploymentMoved):
                await deployments.make_active(deployment, relabelled(sequence, deployment, arm), run_id=run_id)
            await deployments.record_weight(deployment, verified_weight=TOTAL_WEIGHT, progress=None, message="m")

    work_of = [(first, STABLE, "run-1"), (second, CANDIDATE, "run-2"), (first, STABLE, "run-3")]
    await asyncio.gather(*(work(*each) for each in work_of))


async def test_a_key_used_for_other_resources_is_a_conflict(sessions: Sessions, tmp_path: Path) -> None:
    await registered(sessions, "1.0.0")
    accept = make_acceptance(sessions, make_settings(tmp_path)).accept
    new = NewDeployment(
        model="fraud",
        version="1.0.0",
        environment=Environment.PRODUCTION,
        strategy=Strategy.CANARY,
        strategy_config={},
        resources=ReplicaResources(),
        initiated_by="ann",
        idempotency_key="k",
    )
    first = await accept(new)
    assert await accept(new) == first
    with pytest.raises(Conflict, match="Idempotency-Key"):
        await accept(replace(new, resources=ReplicaResources(replicas=3)))


async def test_a_run_reads_what_serves_and_what_is_warm(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    deployments, plans = PostgresDeployments(sessions), PostgresTrafficPlans(sessions)
    await plans.apply(change(1), run_id="before")
    await PostgresApplications(sessions).add(Desired.at_rest(spec("Production-fraud-warm")))
    deployment = await deployment_of(sessions, "2.0.0")
    brief = await deployments.open(deployment, run_id="run")
    assert (brief.stable, brief.warm) == (STABLE, Arm("Production-fraud-warm", "2.0.0", "dep-w"))
    assert weight_of(await plans.apply(change(1, TOTAL_WEIGHT), run_id="run")) == TOTAL_WEIGHT
    with pytest.raises(StaleFence):
        await plans.apply(change(2), run_id="before")
