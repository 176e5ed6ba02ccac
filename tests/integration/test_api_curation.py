"""Out of use and back: what is deprecated or archived can't be deployed, and what serves goes on serving."""

from temporalio.worker import Worker

from hotswap.domain.vocabulary import Role
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of, made_active


async def test_a_deprecated_version_is_not_deployed_until_it_is_restored(world: ApiWorld, worker: Worker) -> None:
    await world.add_version("1.0.0")
    await world.add_version("2.0.0")
    engineer = world.token(Role.ML_ENGINEER)
    path = f"/api/v1/models/{world.model}/versions/2.0.0"
    assert error_of(await world.http.post(f"{path}/restore", headers=engineer)) == (409, "CONFLICT")
    assert error_of(await world.http.post(f"{path}/deprecate", headers=engineer, json={"reason": " "}))[0] == 400
    answer = await world.http.post(f"{path}/deprecate", headers=engineer, json={"reason": "leaked labels"})
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert (seen["status"], seen["isDeprecated"], seen["deprecation"]) == ("Deprecated", True, "leaked labels")

    refused = await world.deploy(version="2.0.0")
    assert error_of(refused) == (409, "CONFLICT")
    assert "2.0.0 is deprecated: leaked labels" in refused.json()["error"]["message"]
    assert "hotswap models restore" in refused.json()["error"]["message"]
    assert (await world.deploy()).json()["version"] == "1.0.0", "the newest that may be deployed"

    restored = (await world.http.post(f"{path}/restore", headers=engineer, json={"reason": "a mistake"})).json()
    assert (restored["status"], restored["isDeprecated"], restored["deprecation"]) == ("Registered", False, None)
    told = (await world.get("/api/v1/audit", params={"target": restored["versionId"]})).json()["items"]
    assert [(each["action"], each["why"]) for each in told if each["action"] in {"deprecate", "restore"}] == [
        ("restore", "a mistake"),
        ("deprecate", "leaked labels"),
    ]


async def test_what_serves_goes_on_serving_when_it_is_deprecated(world: ApiWorld, worker: Worker) -> None:
    await made_active(world, "1.0.0")
    path = f"/api/v1/models/{world.model}/versions/1.0.0/deprecate"
    answer = await world.http.post(path, headers=world.token(Role.ML_ENGINEER), json={"reason": "old"})
    assert (answer.json()["status"], answer.json()["isDeprecated"]) == ("Deployed", True)
    assert (await world.get(f"/api/v1/models/{world.model}")).json()["activeVersion"] == "1.0.0"


async def test_an_archived_model_takes_nothing_new_until_it_is_restored(world: ApiWorld, worker: Worker) -> None:
    await world.add_version("1.0.0")
    path, admin = f"/api/v1/models/{world.model}", world.token(Role.ADMIN)
    assert (await world.http.delete(path, headers=world.token(Role.ML_ENGINEER))).status_code == 403
    for _ in range(2):
        answer = await world.http.request("DELETE", path, headers=admin, json={"reason": "replaced"})
        assert (answer.status_code, answer.json()["isArchived"]) == (200, True)
    assert error_of(await world.deploy()) == (409, "CONFLICT")
    listed = (await world.get("/api/v1/models", params={"limit": "200"})).json()["items"]
    assert world.model not in {each["name"] for each in listed}
    body = {
        "name": world.model,
        "version": "2.0.0",
        "framework": "ONNX",
        "artifactPath": "s3://ml-models/x.tar.gz",
    }
    refused = await world.http.post("/api/v1/models", headers=admin, json=body)
    assert error_of(refused) == (409, "CONFLICT")
    assert "is archived" in refused.json()["error"]["message"]
    assert (await world.http.post(f"{path}/restore", headers=admin)).json()["isArchived"] is False
    assert error_of(await world.http.post(f"{path}/restore", headers=admin)) == (409, "CONFLICT")
    assert (await world.deploy()).status_code == 202


async def test_a_model_in_use_is_not_archived(world: ApiWorld, worker: Worker) -> None:
    await world.add_version("1.0.0")
    path, admin = f"/api/v1/models/{world.model}", world.token(Role.ADMIN)
    running = (await world.deploy()).json()["deploymentId"]
    refused = await world.http.delete(path, headers=admin)
    assert error_of(refused) == (409, "CONFLICT")
    assert running in refused.json()["error"]["message"]
    assert error_of(await world.http.delete("/api/v1/models/nothing", headers=admin)) == (404, "MODEL_NOT_FOUND")


async def test_a_model_that_serves_is_not_archived(world: ApiWorld, worker: Worker) -> None:
    await made_active(world, "1.0.0")
    refused = await world.http.delete(f"/api/v1/models/{world.model}", headers=world.token(Role.ADMIN))
    assert error_of(refused) == (409, "CONFLICT")
    assert "serves Production" in refused.json()["error"]["message"]
