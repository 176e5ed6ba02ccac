"""The audit log by REST: what was done is found by what, who, when and which request, page by page."""

from datetime import UTC, datetime, timedelta

from temporalio.worker import Worker

from hotswap.domain.vocabulary import Role
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of, made_active

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_who_did_what_is_found_by_each_of_it(world: ApiWorld, worker: Worker) -> None:
    deployment_id = await made_active(world, "1.0.0")
    engineer = world.token(Role.ML_ENGINEER) | {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    path = f"/api/v1/models/{world.model}/monitoring"
    assert (await world.http.put(path, headers=engineer, json={"samples": 200})).status_code == 200
    (changed,) = (await world.get("/api/v1/audit", params={"traceId": TRACE})).json()["items"]
    assert (changed["action"], changed["targetType"], changed["traceId"]) == ("set monitoring", "model", TRACE)
    assert (changed["before"], changed["after"]["samples"]) == ({}, 200)
    model = {"target": changed["target"], "actor": changed["actor"], "action": "set monitoring"}
    assert (await world.get("/api/v1/audit", params=model)).json()["items"] == [changed]
    at = datetime.fromisoformat(changed["at"])
    later = model | {"since": (at + timedelta(microseconds=1)).isoformat()}
    assert (await world.get("/api/v1/audit", params=later)).json()["items"] == []
    earlier = model | {"since": at.isoformat(), "until": datetime.now(UTC).isoformat()}
    assert (await world.get("/api/v1/audit", params=earlier)).json()["items"] == [changed]
    of_deployment = (await world.get("/api/v1/audit", params={"target": deployment_id})).json()["items"]
    assert {each["targetType"] for each in of_deployment} == {"deployment"}
    assert of_deployment[-1]["action"] == "request rollout"
    assert of_deployment[-1]["traceId"]


async def test_pages_go_on_where_the_last_one_ended(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    path = f"/api/v1/models/{world.model}/monitoring"
    admin = world.token(Role.ADMIN, subject=world.model)
    for samples in range(101, 106):
        assert (await world.http.put(path, headers=admin, json={"samples": samples})).status_code == 200
    query = {"actor": world.model, "limit": "2"}
    seen: list[int] = []
    for _ in range(3):
        page = (await world.get("/api/v1/audit", params=query)).json()
        seen += [each["after"]["samples"] for each in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
        await world.http.put(path, headers=admin, json={"samples": 999})
    assert seen == [105, 104, 103, 102, 101], "what comes meanwhile shifts nothing"
    assert page["next"] is None


async def test_nonsense_is_refused_with_its_field(world: ApiWorld) -> None:
    for name, value in {"since": "yesterday", "until": "2026-12-27T00:00:00", "cursor": "x", "limit": "0"}.items():
        answer = await world.get("/api/v1/audit", params={name: value})
        assert error_of(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["error"]["details"][0]["field"].endswith(name)
