"""Deploying and steering through the API, over PostgreSQL and Temporal."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from temporalio.worker import Worker

from api.orchestration import Orchestration
from hotswap.domain.analysis import BakeRecord, JudgeName
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.domain.traffic import Arm, TrafficChange
from hotswap.domain.verdict import ArmFigures, MetricResult, Outcome, Verdict
from hotswap.domain.vocabulary import Environment, Role
from hotswap.messages import DeploymentInput
from hotswap.persistence.analysis.observations import PostgresObservations
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.tables import Deployment
from hotswap.process.temporal import connect
from tests.fixtures.api import make_app
from tests.fixtures.patience import until
from tests.integration.api_world import NOT_FOR_LONG, ApiWorld, fake_worker

S = DeploymentStatus
BATCHES = {"maxBatchSize": 8, "batchWait": "PT0.01S"}
RESOURCES = {"replicas": 2, "gpus": 0.5, "cpus": 0.25, "minReplicas": None, "maxReplicas": None, **BATCHES}


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def started(world: ApiWorld, **body: Any) -> str:
    answer = await world.deploy(**body)
    assert answer.status_code == 202, answer.text
    deployment_id: str = answer.json()["deploymentId"]
    await until(lambda: world.was_opened(deployment_id))
    return deployment_id


async def became(world: ApiWorld, deployment_id: str, *statuses: DeploymentStatus) -> None:
    """Walk a row along the transition table, as its workflow would."""
    deployments = PostgresDeployments(world.sessions)
    for status in statuses:
        await deployments.transition(deployment_id, status, message=f"now {status}", reason=None, actor="test")


async def made_active(world: ApiWorld, version: str, **body: object) -> str:
    """A deployment that went all the way, written as its workflow would write it."""
    await world.add_version(version)
    deployment_id = await started(world, version=version, **body)
    await became(world, deployment_id, S.VALIDATING, S.DEPLOYING, S.PROGRESSING, S.PROMOTING)
    winner = Arm(f"Production-{world.model}-{version}", version, deployment_id)
    change = TrafficChange(Environment.PRODUCTION, world.model, deployment_id, 1, winner, None, 0)
    row = (await world.get(f"/api/v1/deployments/{deployment_id}")).json()
    await PostgresDeployments(world.sessions).make_active(deployment_id, change, run_id=row["runId"])
    await became(world, deployment_id, S.ACTIVE)
    await world.temporal.get_workflow_handle(row["workflowId"]).terminate()
    return deployment_id


async def test_a_deployment_starts_its_workflow_with_what_was_asked(world: ApiWorld, worker: Worker) -> None:
    await world.add_version("1.0.0")
    await world.add_version("1.10.0")
    answer = await world.deploy(
        strategy="Canary",
        strategyConfig={
            "canaryPercentage": 20,
            "monitoringDuration": "PT30S",
            "replicas": 2,
            "numGpus": 0.5,
            **BATCHES,
        },
    )
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/deployments/{body['deploymentId']}"
    assert (body["version"], body["status"], body["environment"]) == ("1.10.0", "Pending", "Production")
    assert body["workflowId"] == f"deployment/Production/{world.model}"
    description = await world.temporal.get_workflow_handle(body["workflowId"]).describe()
    assert (await description.memo())["deploymentId"] == body["deploymentId"]
    seen = (await world.get(answer.headers["location"])).json()
    assert seen["resources"] == RESOURCES
    assert seen["strategyConfig"]["monitoringDuration"] == "PT30S"
    assert (seen["initiatedBy"], seen["trafficPercentage"], seen["kind"]) == ("ann", 0.0, "rollout")
    listed = (await world.get("/api/v1/deployments", params={"model": world.model})).json()
    assert [each["deploymentId"] for each in listed["items"]] == [body["deploymentId"]]


async def test_a_second_deployment_is_refused_and_told_of_the_first(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    first = await started(world)
    second = await world.deploy(by="bob")
    assert error_of(second) == (409, "CONFLICT")
    assert first in second.json()["error"]["message"]
    listed = (await world.get("/api/v1/deployments", params={"model": world.model})).json()
    assert [each["deploymentId"] for each in listed["items"]] == [first]
    assert (await world.deploy(environment="Staging")).status_code == 202  # another environment is another lock


async def test_the_same_idempotency_key_starts_one_deployment(world: ApiWorld, worker: Worker) -> None:
    await world.add_version("1.0.0")
    key = f"release-{world.model}"
    answers = await asyncio.gather(*(world.deploy(key=key) for _ in range(4)))
    assert {answer.status_code for answer in answers} <= {202, 409}
    answers.append(await world.deploy(key=key))
    assert len({answer.json()["deploymentId"] for answer in answers if answer.status_code == 202}) == 1
    assert error_of(await world.deploy(key=key, environment="Staging")) == (409, "IDEMPOTENCY_KEY_REUSED")
    await world.add_version("2.0.0")
    assert (await world.deploy(key=key)).json()["version"] == "1.0.0"
    assert error_of(await world.deploy(by="bob", key=key)) == (409, "CONFLICT")  # another caller's key


async def test_a_crash_between_row_and_workflow_heals_with_the_same_key(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    real = world.app.state.parts.orchestration.start_deployment

    async def crash(_: DeploymentInput) -> None:
        raise ConnectionResetError("the process died here")

    world.app.state.parts.orchestration.start_deployment = crash
    assert error_of(await world.deploy(key="k")) == (500, "INTERNAL_ERROR")
    world.app.state.parts.orchestration.start_deployment = real
    healed = await world.deploy(key="k")
    assert healed.status_code == 202
    await until(lambda: world.was_opened(healed.json()["deploymentId"]))


async def test_an_update_reaches_the_workflow_with_the_callers_name(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    deployment_id = await started(world)
    answer = await world.say(deployment_id, "promote", by="bob", reason="looks good", full=True)
    assert (answer.status_code, answer.json()["status"]) == (200, "Progressing")
    heard = await world.temporal.get_workflow_handle(f"deployment/Production/{world.model}").query("heard")
    assert heard == [{"promote": {"by": "bob", "reason": "looks good", "via": "api", "full": True}}]


async def test_what_has_no_effect_or_cannot_be_read_is_refused(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    deployment_id = await started(world)
    nothing_waits = await world.say(deployment_id, "approve", by="bob")
    assert error_of(nothing_waits) == (409, "CONFLICT")
    assert "nothing waits" in nothing_waits.json()["error"]["message"]
    assert error_of(await world.say(deployment_id, "promote", reason="unreadable")) == (400, "VALIDATION_ERROR")
    assert error_of(await world.say(deployment_id, "promote", fully=True)) == (400, "VALIDATION_ERROR")


async def test_who_asked_for_a_production_deployment_cannot_approve_it(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    deployment_id = await started(world)
    assert error_of(await world.say(deployment_id, "approve", by="ann")) == (403, "FORBIDDEN")


async def test_an_abort_ends_it_and_later_words_are_told_how_it_ended(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    deployment_id = await started(world)
    assert (await world.say(deployment_id, "abort", reason="errors at checkout")).status_code == 200
    await world.ends(deployment_id)
    for verb in ("promote", "abort", "rollback"):
        late = await world.say(deployment_id, verb)
        assert error_of(late) == (409, "CONFLICT"), verb
        assert "Cancelled" in late.json()["error"]["message"]
    assert (await world.deploy()).status_code == 202  # the way is free


async def test_words_for_an_ended_deployment_never_reach_the_next_one(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    first = await started(world)
    await world.temporal.get_workflow_handle(f"deployment/Production/{world.model}").terminate()
    async with world.sessions.begin() as session:  # as the reconciler would
        await session.execute(update(Deployment).where(Deployment.deployment_id == first).values(status="Failed"))
    second = await started(world)
    assert error_of(await world.say(first, "abort")) == (409, "CONFLICT")
    assert await world.status(second) == "Pending"


@NOT_FOR_LONG
async def test_an_abort_without_a_worker_is_recorded_and_then_obeyed(world: ApiWorld) -> None:
    await world.add_version()
    deployment_id = (await world.deploy()).json()["deploymentId"]
    promote = await world.say(deployment_id, "promote")
    assert error_of(promote) == (503, "SERVICE_UNAVAILABLE")
    assert "no worker" in promote.json()["error"]["message"]
    abort = await world.say(deployment_id, "abort", reason="3 a.m.")
    assert (abort.status_code, abort.json()["confirmed"]) == (202, False)
    async with fake_worker(world.temporal, world.sessions, world.task_queue):
        await world.ends(deployment_id)


async def test_rollback_of_a_running_deployment_is_an_abort_under_that_reason(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    deployment_id = await started(world)
    answer = await world.say(deployment_id, "rollback", reason="second thoughts")
    assert (answer.status_code, answer.json()["deploymentId"]) == (200, deployment_id)
    handle = world.temporal.get_workflow_handle(f"deployment/Production/{world.model}")
    heard = await handle.query("heard")
    assert heard[0]["abort"]["rollback"] is True


async def test_rollback_of_an_active_deployment_deploys_the_version_before(world: ApiWorld, worker: Worker) -> None:
    first = await made_active(world, "1.0.0")
    nothing_before = await world.say(first, "rollback")
    assert error_of(nothing_before) == (409, "CONFLICT")
    assert "first" in nothing_before.json()["error"]["message"]

    second = await made_active(world, "2.0.0")
    outdated = await world.say(first, "rollback")
    assert error_of(outdated) == (409, "CONFLICT")
    assert second in outdated.json()["error"]["message"]

    answer = await world.say(second, "rollback", by="bob")
    assert answer.status_code == 202
    back = (await world.get(answer.headers["location"])).json()
    assert (back["kind"], back["version"], back["initiatedBy"]) == ("rollback", "1.0.0", "bob")
    assert back["deploymentId"] == answer.json()["deploymentId"] != second
    assert error_of(await world.say(second, "rollback")) == (409, "CONFLICT")  # it is under way


async def test_retry_deploys_again_what_ended_without_success(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    config = {"canaryPercentage": 5, "monitoringDuration": "PT60S"}
    failed = await started(world, strategyConfig=config)
    await world.say(failed, "abort")
    await world.ends(failed)
    answer = await world.say(failed, "retry", by="bob")
    assert answer.status_code == 202
    again = (await world.get(answer.headers["location"])).json()
    assert (again["version"], again["initiatedBy"], again["strategyConfig"]["canaryPercentage"]) == ("1.0.0", "bob", 5)
    assert again["deploymentId"] == answer.json()["deploymentId"] != failed


async def test_retry_of_what_succeeded_is_refused(world: ApiWorld, worker: Worker) -> None:
    first = await made_active(world, "1.0.0")
    refusal = await world.say(first, "retry")
    assert error_of(refusal) == (409, "CONFLICT")
    assert "nothing to retry" in refusal.json()["error"]["message"]


async def test_a_deployment_is_shown_with_steps_verdicts_and_time_left(world: ApiWorld, worker: Worker) -> None:
    await made_active(world, "1.0.0")
    await world.add_version("2.0.0")
    deployment_id = await started(
        world, strategyConfig={"canaryPercentage": 12.5, "incrementStep": 40, "monitoringDuration": "PT60S"}
    )
    await became(world, deployment_id, S.VALIDATING, S.DEPLOYING, S.PROGRESSING)
    deployments = PostgresDeployments(world.sessions)
    figures = ArmFigures(requests=200, errors=3, latency_p50_ms=1.5, latency_p95_ms=3.0)
    errors = MetricResult("errors", JudgeName.BETA_MIXTURE, Outcome.PASS, "fine", {"log-evidence": 0.1})
    verdict = Verdict(Outcome.PASS, "fine", candidate=figures, stable=figures, metrics=(errors,))
    await PostgresObservations(world.sessions).record(deployment_id, BakeRecord(0, 1_000.0, 1_250), verdict)
    await deployments.record_weight(deployment_id, verified_weight=5_250, progress=33, message="52.5% verified")
    seen = (await world.get(f"/api/v1/deployments/{deployment_id}")).json()
    assert (seen["status"], seen["trafficPercentage"], seen["currentStep"]) == ("Progressing", 52.5, 2)
    assert [(step["weight"], step["state"]) for step in seen["steps"]] == [
        (12.5, "done"),
        (52.5, "current"),
        (92.5, "waiting"),
        (100.0, "waiting"),
    ]
    (analysis,) = seen["analysis"]
    assert analysis["candidate"]["errorRate"] == 0.015
    assert [(each["name"], each["outcome"], each["numbers"]) for each in analysis["metrics"]] == [
        ("errors", "Pass", {"log-evidence": 0.1})
    ]
    assert seen["previousVersion"] == "1.0.0"
    assert seen["bakeEndsAt"] is not None


async def test_a_data_scientist_deploys_to_staging_but_not_to_production(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    assert error_of(await world.deploy(role=Role.DATA_SCIENTIST)) == (403, "FORBIDDEN")
    assert (await world.deploy(role=Role.DATA_SCIENTIST, environment="Staging")).status_code == 202


async def test_an_emergency_takes_an_engineer_and_a_reason_and_is_shown(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    hurry: dict[str, Any] = {"environment": "Staging", "emergency": True, "reason": "checkout is down"}
    assert error_of(await world.deploy(role=Role.DATA_SCIENTIST, **hurry)) == (403, "FORBIDDEN")
    for name, wrong in (("reason", None), ("reason", "  "), ("emergency", False), ("startAt", "2126-01-01T00:00:00Z")):
        assert error_of(await world.deploy(**{**hurry, name: wrong})) == (400, "VALIDATION_ERROR")
    foreseen = await world.http.post(
        "/api/v1/deployments",
        params={"dryRun": "true"},
        headers=world.token(Role.ML_ENGINEER),
        json={"modelId": world.model, **hurry},
    )
    assert [step["bakeSeconds"] for step in foreseen.json()["steps"]] == [0]
    answer = await world.deploy(key="once", **hurry)
    assert answer.status_code == 202, answer.text
    deployment_id = answer.json()["deploymentId"]
    assert error_of(await world.deploy(key="once", environment="Staging"))[0] == 409
    seen = (await world.get(f"/api/v1/deployments/{deployment_id}")).json()
    assert seen["emergency"] == "checkout is down"
    assert [(step["weight"], step["judged"]) for step in seen["steps"]] == [(100, False)]
    (listed,) = (await world.get("/api/v1/deployments", params={"model": world.model})).json()["items"]
    assert listed["emergency"] == "checkout is down"
    explained = (await world.get(f"/api/v1/deployments/{deployment_id}/explain")).json()
    assert explained["happenings"][0]["why"] == "emergency: checkout is down"
    events = await world.get("/api/v1/audit", params={"target": deployment_id, "action": "request rollout"})
    (event,) = events.json()["items"]
    assert (event["actor"], event["why"], event["after"]["emergency"]) == ("ann", "emergency: checkout is down", True)
    again = await world.say(deployment_id, "abort")
    assert again.status_code == 200
    await world.ends(deployment_id)
    retried = (await world.say(deployment_id, "retry")).json()["deploymentId"]
    assert (await world.get(f"/api/v1/deployments/{retried}")).json()["emergency"] is None, "a retry bakes"


async def test_reads_go_on_and_changes_are_503_while_temporal_is_away(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add_version()
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    away = await connect(lazy=True)
    app = make_app(world.settings, world.sessions, Orchestration(away, update_timeout=timedelta(seconds=1)))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hotswap") as http:
        read = await http.get(f"/api/v1/models/{world.model}", headers=world.token(Role.VIEWER))
        change = await http.post("/api/v1/deployments", headers=world.token(Role.ADMIN), json={"modelId": world.model})
    assert read.status_code == 200
    assert error_of(change) == (503, "SERVICE_UNAVAILABLE")
    assert change.headers["retry-after"]
