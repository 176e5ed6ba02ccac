"""A narrower contract and the version that serves already, over PostgreSQL and Temporal: refused where it is begun."""

from dataclasses import replace
from typing import Any

import pytest
from temporalio.worker import Worker

from hotswap.domain.contract import Contract
from hotswap.domain.lifecycle import DeploymentStatus as S
from hotswap.domain.vocabulary import Role
from hotswap.persistence.registry.versions import PostgresRegistry
from serving.runtimes.rows import RowColumns
from tests.fixtures.patience import until
from tests.fixtures.rows import registrar
from tests.integration.api_world import INSPECTION, ApiWorld, registration
from tests.integration.test_api_deployments import became, error_of, made_active, started
from tests.integration.test_dry_run import dry

WIDER = {"type": "array", "minItems": 0}
NARROWER = {"type": "array", "minItems": 3}
TOLD = "features: the stable takes lists of any length, the candidate takes lists of 3 or more"


async def add(world: ApiWorld, version: str, input_schema: dict[str, Any]) -> None:
    """Of the artifact that `made_active` registers, so that it takes the version as it is."""
    found = replace(INSPECTION, input_schema=input_schema)
    await registrar(world.sessions).add_version(registration(world.model, version), found)


async def test_a_narrower_contract_is_refused_in_words_and_takes_somebodys_word(
    world: ApiWorld, worker: Worker
) -> None:
    await made_active(world, "1.0.0")
    await add(world, "2.0.0", NARROWER)
    refused = await world.deploy(version="2.0.0")
    assert error_of(refused) == (409, "CONTRACT_NARROWED")
    told = refused.json()["error"]
    assert f"2.0.0 narrows the contract of 1.0.0, which serves Production: {TOLD}" in told["message"]
    assert "--accept-contract-change" in told["message"]
    assert [f"{each['field']}: {each['message']}" for each in told["details"]] == [TOLD]

    foreseen = await dry(world, version="2.0.0")
    assert foreseen["wouldBeAccepted"] is False
    assert [refusal["code"] for refusal in foreseen["refusals"]] == ["CONTRACT_NARROWED"]
    field, _, message = TOLD.partition(": ")
    assert foreseen["contract"] == [{"field": field, "message": message, "narrows": True}]
    accepted = await dry(world, version="2.0.0", acceptContractChange=True)
    assert (accepted["wouldBeAccepted"], accepted["contract"]) == (True, foreseen["contract"])

    deployment = await started(world, version="2.0.0", acceptContractChange=True)
    beside = await PostgresRegistry(world.sessions).contract_beside(deployment)
    assert beside == Contract("1.0.0", INSPECTION.input_schema, INSPECTION.output_schema, may_narrow=True)
    (event,) = (await world.get("/api/v1/audit", params={"target": deployment, "action": "request rollout"})).json()[
        "items"
    ]
    assert (event["actor"], event["after"]["acceptContractChange"]) == ("ann", True)


async def test_a_retry_carries_what_was_accepted(world: ApiWorld, worker: Worker) -> None:
    await made_active(world, "1.0.0")
    await add(world, "2.0.0", NARROWER)
    deployment = await started(world, version="2.0.0", acceptContractChange=True)
    assert (await world.say(deployment, "abort")).status_code == 200
    await world.ends(deployment)
    again = await world.say(deployment, "retry")
    assert again.status_code == 202, again.text
    beside = await PostgresRegistry(world.sessions).contract_beside(again.json()["deploymentId"])
    assert beside is not None
    assert beside.may_narrow


async def test_a_wider_contract_and_a_first_version_need_no_word(world: ApiWorld, worker: Worker) -> None:
    await add(world, "1.0.0", NARROWER)
    first = await made_active(world, "1.0.0")
    await add(world, "2.0.0", WIDER)
    assert (await dry(world, version="2.0.0"))["refusals"] == []
    row = (await world.get(f"/api/v1/deployments/{first}")).json()
    assert row["status"] == "Active"


async def test_a_rollback_to_a_narrower_version_is_no_question(world: ApiWorld, worker: Worker) -> None:
    await add(world, "1.0.0", NARROWER)
    await made_active(world, "1.0.0")
    second = await made_active(world, "2.0.0")
    assert error_of(await world.deploy(version="1.0.0")) == (409, "CONTRACT_NARROWED"), "a rollout is one"
    back = await world.say(second, "rollback")
    assert back.status_code == 202, back.text


async def test_what_waits_behind_another_is_looked_at_when_it_begins(world: ApiWorld, worker: Worker) -> None:
    await made_active(world, "1.0.0")
    await add(world, "2.0.0", NARROWER)
    await add(world, "3.0.0", WIDER)
    await started(world, version="3.0.0")
    assert (await dry(world, version="2.0.0", onConflict="queue"))["refusals"] == []
    assert (await dry(world, version="1.0.0", onConflict="queue"))["refusals"] == []


async def test_the_version_that_serves_is_no_candidate(world: ApiWorld, worker: Worker) -> None:
    first = await made_active(world, "1.0.0")
    for said in ({"version": "1.0.0"}, {}, {"version": "1.0.0", "resources": {"replicas": 1}}):
        refused = await world.deploy(**said)
        assert error_of(refused) == (409, "CONFLICT"), said
        assert f"{world.model} 1.0.0 serves Production already, by {first}" in refused.json()["error"]["message"]
        assert f"`hotswap scale {first} N`" in refused.json()["error"]["message"]
    (refusal,) = (await dry(world))["refusals"]
    assert "it is the newest that can be deployed" in refusal["message"]
    assert (await dry(world, environment="Staging", version="1.0.0"))["refusals"] == [], "it doesn't serve there"


@pytest.mark.parametrize("said", [{"resources": {"replicas": 2}}, {"strategyConfig": {"numGpus": 0.5}}])
async def test_the_version_that_serves_may_get_other_resources(
    world: ApiWorld, worker: Worker, said: dict[str, Any]
) -> None:
    await made_active(world, "1.0.0")
    again = await started(world, version="1.0.0", **said)
    await became(world, again, S.VALIDATING, S.FAILED)


async def test_the_version_that_serves_may_be_deployed_to_record_otherwise(world: ApiWorld, worker: Worker) -> None:
    await made_active(world, "1.0.0")
    wanted = {"recordFeatures": "none", "dropFields": ["ssn"]}
    engineer = world.token(Role.ML_ENGINEER)
    changed = await world.http.patch(f"/api/v1/models/{world.model}", headers=engineer, json=wanted)
    assert changed.status_code == 200, changed.text
    told = await dry(world, version="1.0.0")
    assert told["refusals"] == []
    assert {each["path"]: each["then"] for each in told["differences"]}.items() >= wanted.items()
    again = await started(world, version="1.0.0")
    await became(world, again, S.VALIDATING, S.FAILED)


async def test_the_same_request_again_is_answered_though_its_version_serves_by_now(
    world: ApiWorld, worker: Worker
) -> None:
    await world.add_version("1.0.0")
    asked = await world.deploy(version="1.0.0", key="once")
    deployment = asked.json()["deploymentId"]
    await until(lambda: world.was_opened(deployment))
    await world.say(deployment, "abort")
    await world.ends(deployment)
    await made_active(world, "1.0.0")
    again = await world.deploy(version="1.0.0", key="once")
    assert again.json()["deploymentId"] == deployment


async def test_columns_in_another_order_narrow(world: ApiWorld, worker: Worker) -> None:
    await add(world, "1.0.0", RowColumns(2, ("amount", "age"), {"type": "number"}).schema)
    await add(world, "2.0.0", RowColumns(2, ("age", "amount"), {"type": "number"}).schema)
    await made_active(world, "1.0.0")
    (refusal,) = (await dry(world, version="2.0.0"))["refusals"]
    assert "the stable's is amount, age, the candidate's age, amount" in refusal["message"], "as PostgreSQL gives it"
