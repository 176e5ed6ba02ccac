"""A version's validation report as people see it, and what an Admin lets pass of it."""

from typing import Any

from temporalio.worker import Worker

from hotswap.domain.registry import VersionRef
from hotswap.domain.validation import CheckName, Override, ValidationCheck, completed
from hotswap.domain.vocabulary import Role
from hotswap.persistence.registry.versions import PostgresRegistry
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of

FAILED = (
    ValidationCheck(CheckName.LOADS, True, "in 0.1 s"),
    ValidationCheck(CheckName.GOLDEN, False, "1 of 2 failed"),
    ValidationCheck(CheckName.LATENCY, False, "30 ms, of less than 24 ms allowed"),
)


async def validated(world: ApiWorld, *checks: ValidationCheck) -> VersionRef:
    """A version whose newest deployment was validated so."""
    version = await world.add_version()
    deployment = (await world.deploy(environment="Staging")).json()["deploymentId"]
    await PostgresRegistry(world.sessions).store_validation(deployment, version.version_id, completed(checks))
    return version


async def say(world: ApiWorld, method: str, **body: Any) -> Any:
    path = f"/api/v1/models/{world.model}/versions/1.0.0/validation/override"
    return await world.http.request(method, path, headers=world.token(Role.ADMIN, subject="root"), json=body or None)


async def test_the_report_has_a_row_per_check(world: ApiWorld, worker: Worker) -> None:
    await validated(world, *FAILED)
    seen = (await world.get(f"/api/v1/models/{world.model}/versions/1.0.0/validation")).json()
    assert (seen["report"]["passed"], seen["override"]) == (False, None)
    rows = {row["name"]: row["outcome"] for row in seen["report"]["checks"]}
    assert list(rows) == list(CheckName)
    assert (rows["model loads"], rows["latency"], rows["accuracy"]) == ("Passed", "Failed", "NotApplicable")
    deployment = (await world.get(f"/api/v1/deployments/{seen['deploymentId']}")).json()
    assert deployment["validation"] == seen["report"]


async def test_before_its_first_deployment_there_is_nothing_to_let_pass(world: ApiWorld) -> None:
    await world.add_version()
    seen = (await world.get(f"/api/v1/models/{world.model}/versions/1.0.0/validation")).json()
    assert (seen["report"], seen["deploymentId"]) == (None, None)
    assert error_of(await say(world, "POST", reason="in advance")) == (409, "CONFLICT")


async def test_an_override_is_honoured_audited_and_withdrawn(world: ApiWorld, worker: Worker) -> None:
    version = await validated(world, *FAILED)
    registry = PostgresRegistry(world.sessions)
    given = await say(world, "POST", reason="slower by design")
    assert given.status_code == 200, given.text
    override = given.json()["override"]
    assert (override["checks"], override["by"], override["reason"]) == (["latency"], "root", "slower by design")
    assert await registry.validation_override(version.version_id) == Override(("latency",), "root", "slower by design")
    assert (await say(world, "DELETE", reason="mended")).json()["override"] is None
    assert await registry.validation_override(version.version_id) is None
    assert error_of(await say(world, "DELETE")) == (404, "NOT_FOUND")
    told = (await world.get("/api/v1/audit", params={"target": version.version_id})).json()["items"]
    assert [(each["action"], each["actor"], each["why"], each["after"]) for each in told[:2]] == [
        ("withdraw override", "root", "mended", {"checks": []}),
        ("override validation", "root", "slower by design", {"checks": ["latency"]}),
    ]


async def test_what_must_not_or_has_not_failed_is_not_let_pass(world: ApiWorld, worker: Worker) -> None:
    await validated(world, *FAILED)
    unsafe = await say(world, "POST", reason="trust me", checks=["golden requests"])
    assert error_of(unsafe) == (400, "VALIDATION_ERROR")
    assert "only accuracy, latency, memory, schemas can" in unsafe.json()["error"]["message"]
    assert error_of(await say(world, "POST", reason="trust me", checks=["memory"])) == (409, "CONFLICT")
    assert error_of(await say(world, "POST", reason=" ")) == (400, "VALIDATION_ERROR")
