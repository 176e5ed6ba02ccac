"""What people say of models and versions; what is deprecated or archived can't be deployed, what serves goes on."""

from typing import Any
from unittest.mock import ANY

import pytest
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


async def audited(world: ApiWorld, target: str) -> list[tuple[str, Any, Any]]:
    told = (await world.get("/api/v1/audit", params={"target": target})).json()["items"]
    return [(each["action"], each["before"], each["after"]) for each in told]


async def test_an_alias_goes_from_version_to_version_and_is_deployed(world: ApiWorld, worker: Worker) -> None:
    await world.add_version("1.0.0")
    await world.add_version("2.0.0")
    engineer, path = world.token(Role.ML_ENGINEER), f"/api/v1/models/{world.model}"
    champion = f"{path}/aliases/champion"
    assert error_of(await world.http.delete(champion, headers=engineer)) == (404, "ALIAS_NOT_FOUND")
    for version in ("2.0.0", "1.0.0", "1.0.0"):
        given = await world.http.put(champion, headers=engineer, json={"version": version})
        assert (given.status_code, given.json()["aliases"]) == (200, {"champion": version})
    assert (await world.get(f"{path}/versions/champion")).json()["aliases"] == ["champion"]
    assert (await world.get(f"{path}/versions/2.0.0")).json()["aliases"] == []
    described = await world.http.put(f"{path}/versions/champion/card", headers=engineer, json={"text": "the best"})
    assert (described.json()["version"], described.json()["text"]) == ("1.0.0", "the best")
    second = await world.http.put(f"{path}/aliases/best", headers=engineer, json={"version": "champion"})
    assert second.json()["aliases"] == {"best": "1.0.0", "champion": "1.0.0"}
    assert (await world.http.delete(f"{path}/aliases/best", headers=engineer)).json()["aliases"] == {
        "champion": "1.0.0"
    }
    deployed = await world.deploy(version="champion", key="once")
    assert (deployed.status_code, deployed.json().get("version")) == (202, "1.0.0"), deployed.text
    await world.http.put(champion, headers=engineer, json={"version": "2.0.0"})
    again = await world.deploy(version="champion", key="once")
    assert again.json()["deploymentId"] == deployed.json()["deploymentId"], "what it meant when it was asked for"
    unknown = await world.deploy(version="challenger", environment="Staging")
    assert error_of(unknown) == (404, "VERSION_NOT_FOUND")

    assert (await world.http.delete(champion, headers=engineer)).json()["aliases"] == {}
    model_id = given.json()["modelId"]
    assert [each for each in await audited(world, model_id) if each[0] == "alias" and "champion" in each[2]] == [
        ("alias", {"champion": "2.0.0"}, {"champion": None}),
        ("alias", {"champion": "1.0.0"}, {"champion": "2.0.0"}),
        ("alias", {"champion": "2.0.0"}, {"champion": "1.0.0"}),
        ("alias", {"champion": None}, {"champion": "2.0.0"}),
    ]


@pytest.mark.parametrize("alias", ["2.0.0", "Champion", "ver-1a2b", "ends-", "x" * 64])
async def test_what_could_be_taken_for_something_else_is_no_alias(world: ApiWorld, alias: str) -> None:
    await world.add_version("1.0.0")
    path = f"/api/v1/models/{world.model}/aliases/{alias}"
    answer = await world.http.put(path, headers=world.token(Role.ML_ENGINEER), json={"version": "1.0.0"})
    assert error_of(answer) == (400, "VALIDATION_ERROR")
    assert answer.json()["error"]["details"][0]["field"] == "alias"


async def test_a_model_is_changed_in_what_is_named(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    engineer, path = world.token(Role.ML_ENGINEER), f"/api/v1/models/{world.model}"
    before = (await world.get(path)).json()
    changed = await world.http.patch(path, headers=engineer, json={"tags": ["tier-1"], "description": "who pays"})
    assert changed.status_code == 200, changed.text
    expected = {**before, "tags": ["tier-1"], "description": "who pays", "updatedAt": ANY}
    assert changed.json() == expected
    assert (await audited(world, before["modelId"]))[0] == (
        "change model",
        {"tags": [], "description": None},
        {"tags": ["tier-1"], "description": "who pays"},
    )
    assert (await world.http.patch(path, headers=engineer, json={"description": None})).json()["description"] is None
    for wrong in ({"owner": None}, {"tags": None}, {"name": "other"}, {"idempotent": False}):
        assert error_of(await world.http.patch(path, headers=engineer, json=wrong)) == (400, "VALIDATION_ERROR")


async def test_what_a_models_records_keep_is_changed_and_audited(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    engineer, path = world.token(Role.ML_ENGINEER), f"/api/v1/models/{world.model}"
    before = (await world.get(path)).json()
    names = ("recordFeatures", "recordSampleRate", "dropFields")
    assert [before[name] for name in names] == ["all", 0.1, []]
    wanted = {"recordFeatures": "sample", "recordSampleRate": 0.25, "dropFields": ["ssn", "0"]}
    changed = await world.http.patch(path, headers=engineer, json=wanted)
    assert changed.status_code == 200, changed.text
    assert changed.json() == {**before, **wanted, "updatedAt": ANY}
    assert (await world.get(path)).json() == changed.json()
    ((action, _, after),) = (await audited(world, before["modelId"]))[:1]
    assert (action, after["record_features"], after["drop_fields"]) == ("change model", "sample", ["ssn", "0"])
    for wrong in (
        {"recordFeatures": "some"},
        {"recordFeatures": None},
        {"recordSampleRate": 0},
        {"recordSampleRate": None},
        {"recordSampleRate": True},
        {"recordSampleRate": 1.5},
        {"dropFields": [""]},
        {"dropFields": None},
        {"dropFields": "ssn"},
    ):
        assert error_of(await world.http.patch(path, headers=engineer, json=wrong)) == (400, "VALIDATION_ERROR")


async def test_a_versions_card_is_written_and_kept(world: ApiWorld) -> None:
    await world.add_version("1.0.0")
    scientist = world.token(Role.DATA_SCIENTIST)
    version = f"/api/v1/models/{world.model}/versions/1.0.0"
    assert (await world.get(f"{version}/card")).json()["text"] is None
    for text, kept in (("# Fraud", "# Fraud"), ("worse", "worse"), ("", None)):
        written = await world.http.put(f"{version}/card", headers=scientist, json={"text": text})
        assert written.json() == (await world.get(f"{version}/card")).json()
        assert written.json()["text"] == kept
    version_id = (await world.get(version)).json()["versionId"]
    assert [before["card"] for action, before, _ in await audited(world, version_id) if action == "describe"] == [
        "worse",
        "# Fraud",
        None,
    ]
    too_long = await world.http.put(f"{version}/card", headers=scientist, json={"text": "x" * 100_001})
    assert error_of(too_long) == (400, "VALIDATION_ERROR")
