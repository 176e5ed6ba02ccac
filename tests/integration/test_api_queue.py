"""Waiting through the API: queue, supersede, a start at a time, freezes; over PostgreSQL and Temporal."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY

import httpx
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowUpdateFailedError
from temporalio.worker import Worker

from api.orchestration import Orchestration
from hotswap.domain.verdict import Reason
from hotswap.domain.vocabulary import Role
from hotswap.process.temporal import connect
from tests.fixtures.api import with_orchestration
from tests.fixtures.patience import until
from tests.integration.api_world import ApiWorld, fake_worker
from tests.integration.test_api_deployments import error_of, started


async def seen(world: ApiWorld, deployment_id: str) -> dict[str, Any]:
    view: dict[str, Any] = (await world.get(f"/api/v1/deployments/{deployment_id}")).json()
    return view


async def accepted(world: ApiWorld, **body: Any) -> dict[str, Any]:
    answer = await world.deploy(**body)
    assert answer.status_code == 202, answer.text
    view: dict[str, Any] = answer.json()
    return view


async def frozen(world: ApiWorld, *, role: Role = Role.ML_ENGINEER, **body: Any) -> httpx.Response:
    wanted = {"environment": "Staging", "reason": "holidays", **body}
    return await world.http.post("/api/v1/freezes", headers=world.token(role), json=wanted)


def in_hours(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def test_queued_deployments_start_one_after_the_other_in_their_order(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    first = await started(world)
    line = [await accepted(world, onConflict="queue") for _ in range(2)]
    assert [each["queuePosition"] for each in line] == [1, 2]
    assert first in line[0]["message"]
    second, third = [each["deploymentId"] for each in line]
    view = await seen(world, third)
    assert (view["status"], view["queuePosition"], view["workflowId"]) == ("Pending", 2, f"queue/{third}")
    listed = (await world.get("/api/v1/deployments", params={"model": world.model})).json()
    assert [each["queuePosition"] for each in listed["items"]] == [2, 1, None]
    await world.say(first, "abort")
    await until(lambda: world.was_opened(second))
    view = await seen(world, second)
    assert (view["queuePosition"], view["workflowId"]) == (None, f"deployment/Production/{world.model}")
    assert (await seen(world, third))["queuePosition"] == 1
    await world.say(second, "abort")
    await until(lambda: world.was_opened(third))


async def test_queueing_where_nothing_runs_starts_at_once(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    answer = await accepted(world, onConflict="queue", strategyConfig={"canaryPercentage": 20})
    await until(lambda: world.was_opened(answer["deploymentId"]))
    handle = world.temporal.get_workflow_handle(f"deployment/Production/{world.model}")
    description = await handle.describe()
    assert (await description.memo())["deploymentId"] == answer["deploymentId"]
    (begin,) = [event async for event in handle.fetch_history_events(page_size=1) if event.event_id == 1]
    given = begin.workflow_execution_started_event_attributes.input.payloads[0].data.decode()
    assert '"canaryPercentage":20' in given, "what was asked for is what is started"


async def test_a_queued_deployment_leaves_the_line_and_is_told_nothing_else(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    first = await started(world)
    second, third = [(await accepted(world, onConflict="queue"))["deploymentId"] for _ in range(2)]
    for verb in ("promote", "approve"):
        early = await world.say(third, verb, by="bob")
        assert error_of(early) == (409, "CONFLICT")
        assert first in early.json()["error"]["message"]
    answer = await world.say(second, "abort", by="bob", reason="not needed")
    assert (answer.status_code, answer.json()["status"]) == (200, "Cancelled")
    view = await seen(world, second)
    assert (view["status"], view["reason"]) == ("Cancelled", Reason.ABORTED)
    assert "bob" in view["message"]
    assert "not needed" in view["message"]
    assert (await seen(world, third))["queuePosition"] == 1
    assert error_of(await world.say(second, "abort")) == (409, "CONFLICT")

    async def closed() -> bool:
        return (await world.temporal.get_workflow_handle(f"queue/{second}").describe()).close_time is not None

    await until(closed)
    assert (await world.say(third, "rollback")).json()["status"] == "Cancelled"
    assert (await seen(world, first))["status"] == "Pending", "what is under way was not touched"


async def test_what_has_left_the_line_has_ended_also_before_its_workflow_knows(world: ApiWorld) -> None:
    await world.add_version()
    await accepted(world)
    waiting = (await accepted(world, onConflict="queue"))["deploymentId"]
    assert (await world.say(waiting, "abort")).json()["status"] == "Cancelled"
    assert error_of(await world.say(waiting, "abort")) == (409, "CONFLICT")


@pytest.mark.parametrize("way", ["signal", "update", "malformed signal", "cancel"])
async def test_temporal_takes_it_out_of_the_line_too(world: ApiWorld, worker: Worker, way: str) -> None:
    await world.add_version()
    await started(world)
    waiting = (await accepted(world, onConflict="queue"))["deploymentId"]
    handle = world.temporal.get_workflow_handle(f"queue/{waiting}")
    match way:
        case "signal":
            await handle.signal("abort", {"by": "ann"})
        case "update":
            with pytest.raises(WorkflowUpdateFailedError) as early:
                await handle.execute_update("promote", {"by": "ann"})
            assert "only an abort has an effect" in str(early.value.cause)
            updates = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
            assert updates not in [each.event_type for each in (await handle.fetch_history()).events]
            assert (await handle.execute_update("abort", {"by": "ann"}))["accepted"] is True
        case "malformed signal":
            await handle.signal("abort", args=["a", 2])
        case _:
            await handle.cancel()
    await world.ends(waiting)
    view = await seen(world, waiting)
    assert view["reason"] == (Reason.CANCELLED if way == "cancel" else Reason.ABORTED)


async def test_superseding_aborts_what_runs_and_what_waits_and_then_starts(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    first = await started(world)
    waiting = (await accepted(world, onConflict="queue"))["deploymentId"]
    superseding = (await accepted(world, by="bob", onConflict="supersede"))["deploymentId"]
    await until(lambda: world.was_opened(superseding))
    assert (await seen(world, first))["status"] == "Cancelled"
    await world.ends(waiting)
    view = await seen(world, waiting)
    assert (view["reason"], superseding in view["message"]) == (Reason.SUPERSEDED, True)
    history = await world.temporal.get_workflow_handle(
        f"deployment/Production/{world.model}", run_id=(await seen(world, first))["runId"]
    ).query("heard")
    said = history[0]["abort"]
    assert (said["superseded_by"], said["by"], said["via"]) == (superseding, "bob", "api")


async def test_without_temporal_a_place_in_line_is_taken_and_given_up(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.add_version()
    parts = world.app.state.parts
    with monkeypatch.context() as away:
        away.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
        world.app.state.parts = with_orchestration(parts, Orchestration(await connect(lazy=True)))
        first, second = [await accepted(world, onConflict="queue", key=key) for key in ("a", "b")]
        assert (await world.say(first["deploymentId"], "abort")).json()["status"] == "Cancelled"
    world.app.state.parts = parts
    assert await accepted(world, onConflict="queue", key="b") == {**second, "queuePosition": 1, "message": ANY}
    async with fake_worker(world.temporal, world.sessions, world.task_queue):
        await until(lambda: world.was_opened(second["deploymentId"]))


async def test_a_start_at_a_time_waits_for_it_and_keeps_nobody_waiting(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    later = await accepted(world, startAt=in_hours(1))
    assert (later["queuePosition"], later["message"].startswith("starts at")) == (None, True)
    view = await seen(world, later["deploymentId"])
    assert datetime.fromisoformat(view["startAt"]) > datetime.now(UTC)
    soon = await accepted(world, environment="Staging", startAt=in_hours(1.5 / 3600))
    now = await started(world)
    assert not await world.was_opened(soon["deploymentId"])
    await until(lambda: world.was_opened(soon["deploymentId"]))
    assert (await world.say(later["deploymentId"], "abort")).status_code == 200
    handle = world.temporal.get_workflow_handle(f"queue/{later['deploymentId']}")

    async def closed() -> bool:
        return (await handle.describe()).status is WorkflowExecutionStatus.CANCELED

    await until(closed)
    assert await world.status(now) == "Pending"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"startAt": "2026-12-27T00:00:00"}, "startAt"),
        ({"startAt": "2020-12-27T00:00:00Z"}, "startAt"),
        ({"startAt": in_hours(1), "onConflict": "reject"}, "body"),
        ({"onConflict": "jump"}, "onConflict"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(
    world: ApiWorld, worker: Worker, body: dict[str, Any], field: str
) -> None:
    await world.add_version()
    refused = await world.deploy(**body)
    assert error_of(refused) == (400, "VALIDATION_ERROR")
    assert [each["field"] for each in refused.json()["error"]["details"]] == [field]
    assert (await world.get("/api/v1/deployments", params={"model": world.model})).json()["total"] == 0


async def test_a_frozen_environment_refuses_rollouts_but_no_way_back(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    running = await started(world, environment="Staging")
    freeze = (await frozen(world, duration="PT2H")).json()
    assert (freeze["environment"], freeze["isInForce"], freeze["createdBy"]) == ("Staging", True, "ann")
    refused = await world.deploy(environment="Staging")
    assert error_of(refused) == (409, "CONFLICT")
    assert "holidays" in refused.json()["error"]["message"]
    assert freeze["until"][:16] in refused.json()["error"]["message"]
    waiting = await accepted(world, environment="Staging", onConflict="queue")
    assert "frozen" in waiting["message"]
    assert (await world.deploy()).status_code == 202, "Production is not frozen"
    assert (await world.say(running, "abort")).status_code == 200
    await world.ends(running)
    assert not await world.was_opened(waiting["deploymentId"])
    thawed = await world.http.delete(f"/api/v1/freezes/{freeze['freezeId']}", headers=world.token(Role.ADMIN))
    assert (thawed.status_code, thawed.json()["isInForce"]) == (200, False)
    await until(lambda: world.was_opened(waiting["deploymentId"]))


async def test_what_waited_starts_when_the_freeze_has_ended_by_itself(world: ApiWorld, worker: Worker) -> None:
    await world.add_version()
    assert (await frozen(world, duration="PT1.5S")).status_code == 201
    waiting = (await accepted(world, environment="Staging", onConflict="queue"))["deploymentId"]
    assert not await world.was_opened(waiting)
    await until(lambda: world.was_opened(waiting))
    await world.say(waiting, "abort")


async def test_freezes_are_listed_and_made_by_engineers_only(world: ApiWorld) -> None:
    assert error_of(await frozen(world, role=Role.DATA_SCIENTIST, duration="PT1H")) == (403, "FORBIDDEN")
    planned = (await frozen(world, startsAt=in_hours(2), until=in_hours(3))).json()
    assert planned["isInForce"] is False
    now = (await frozen(world, duration="PT1H")).json()
    other = (await frozen(world, environment="Production", duration="PT1H")).json()
    listed = (await world.get("/api/v1/freezes", params={"environment": "Staging"})).json()
    assert [each["freezeId"] for each in listed["items"]] == [now["freezeId"], planned["freezeId"]]
    assert (await world.get("/api/v1/freezes")).json()["total"] == 3
    refused = await world.http.delete(f"/api/v1/freezes/{other['freezeId']}", headers=world.token(Role.VIEWER))
    assert error_of(refused) == (403, "FORBIDDEN")
    bodies: list[dict[str, Any]] = [
        {},
        {"duration": "PT1H", "until": in_hours(1)},
        {"until": "2020-01-01T00:00:00Z"},
        {"until": "soon"},
    ]
    for body in bodies:
        assert error_of(await frozen(world, **body)) == (400, "VALIDATION_ERROR"), body
    missing = await world.http.delete("/api/v1/freezes/frz-none", headers=world.token(Role.ADMIN))
    assert error_of(missing) == (404, "NOT_FOUND")
