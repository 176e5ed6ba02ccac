"""The promotion policy over the real registry: what is active where, by its rows, and what the API makes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from temporalio.worker import Worker

from hotswap.domain.application import ReplicaResources
from hotswap.domain.deployments import NewDeployment
from hotswap.domain.promotion import PromotionRule
from hotswap.domain.traffic import Arm, TrafficChange
from hotswap.domain.vocabulary import Environment, Strategy
from hotswap.messages import DeploymentInput
from hotswap.persistence.deployments.activation_history import PostgresActivationHistory
from hotswap.persistence.deployments.deployments import PostgresDeployments
from hotswap.persistence.platform.database import Sessions
from hotswap.settings import DeploymentSettings
from tests.fixtures.api import with_deployment_settings
from tests.fixtures.rows import admitted, registered
from tests.integration.api_world import ApiWorld
from tests.integration.test_api_deployments import error_of, made_active

MINUTE = timedelta(minutes=1)
STAGING = Environment.STAGING
POLICY = {"Production": {"activeIn": "Staging", "for": "PT1H"}}


class Staging:
    """Deployments to Staging as their workflows would write them, each a run of its own."""

    def __init__(self, sessions: Sessions, model: str = "fraud") -> None:
        self.sessions = sessions
        self.model = model
        self.runs = 0

    async def activate(self, version: str) -> str:
        new = NewDeployment(self.model, version, STAGING, Strategy.CANARY, {}, ReplicaResources(), "ann")
        deployment = (await admitted(self.sessions, new)).deployment_id
        self.runs += 1
        await PostgresDeployments(self.sessions).make_active(
            deployment, self._change(deployment, version), run_id=f"staging-{self.runs}"
        )
        return deployment

    async def take_back(self, deployment: str, version: str) -> None:
        change = replace(self._change(deployment, version), sequence=2)
        await PostgresDeployments(self.sessions).make_inactive(deployment, change, run_id=f"staging-{self.runs}")

    async def let_pass(self, time: timedelta) -> None:
        """As if all that is written had been written earlier."""
        async with self.sessions.begin() as session:
            await session.execute(
                text("UPDATE active_versions SET since = since - :time, until = until - :time"), {"time": time}
            )

    def _change(self, deployment: str, version: str) -> TrafficChange:
        arm = Arm(f"Staging-{self.model}-{deployment}", version, deployment)
        return TrafficChange(STAGING, self.model, deployment, 1, arm, None, 0)


async def test_active_is_counted_without_a_break(sessions: Sessions) -> None:
    await registered(sessions, "1.0.0", "2.0.0")
    staging, activation_history = Staging(sessions), PostgresActivationHistory(sessions)

    async def active_for(environment: Environment = STAGING) -> tuple[str | None, timedelta | None]:
        seen = await activation_history.active_period("fraud", environment)
        return seen.version, None if seen.since is None else timedelta(minutes=round((seen.at - seen.since) / MINUTE))

    assert await active_for() == (None, None)
    await staging.activate("2.0.0")
    await staging.let_pass(timedelta(minutes=40))
    assert await active_for() == ("2.0.0", timedelta(minutes=40))
    assert await active_for(Environment.PRODUCTION) == (None, None)
    await staging.activate("2.0.0")  # deployed again, on other replicas: the time goes on
    await staging.let_pass(timedelta(minutes=30))
    assert await active_for() == ("2.0.0", timedelta(minutes=70))
    other = await staging.activate("1.0.0")
    await staging.let_pass(timedelta(minutes=5))
    assert await active_for() == ("1.0.0", timedelta(minutes=5))
    await staging.take_back(other, "1.0.0")  # 2.0.0 is active again, and begins anew
    await staging.let_pass(timedelta(minutes=1))
    assert await active_for() == ("2.0.0", timedelta(minutes=1))
    assert (await activation_history.active_period("nobody-knows-it", STAGING)).version is None


@pytest.fixture
def strict(world: ApiWorld) -> ApiWorld:
    turn_on(world)
    return world


def turn_on(world: ApiWorld) -> None:
    parts = world.app.state.parts
    settings: Any = parts.settings.deployments.model_dump() | {"promotion_policy": POLICY}
    world.app.state.parts = with_deployment_settings(parts, DeploymentSettings.model_validate(settings))


async def test_production_waits_for_an_hour_in_staging(strict: ApiWorld, worker: Worker) -> None:
    await strict.add_version("2.0.0")
    staging = Staging(strict.sessions, strict.model)

    async def refusal() -> str:
        refused = await strict.deploy(key="release-2")
        assert error_of(refused) == (409, "POLICY_NOT_MET")
        listed = await strict.get("/api/v1/deployments", params={"environment": "Production"})
        assert listed.json()["items"] == []
        said: str = refused.json()["error"]["message"]
        assert refused.json()["error"]["details"] == [{"field": "environment", "message": said}]
        return said

    assert "no version is active there, so deploy 2.0.0 to Staging first" in await refusal()
    assert (await strict.deploy(environment="Staging")).status_code == 202, "Staging has no rule of its own"
    await staging.activate("2.0.0")
    await staging.let_pass(timedelta(minutes=59))
    assert "so ask again at" in await refusal()
    await staging.let_pass(timedelta(minutes=1))
    accepted = await strict.deploy(key="release-2")
    assert accepted.status_code == 202
    handle = strict.temporal.get_workflow_handle(accepted.json()["workflowId"])
    (begun, *_) = (await handle.fetch_history()).events
    given = begun.workflow_execution_started_event_attributes.input.payloads
    (request,) = await strict.temporal.data_converter.decode(given, [DeploymentInput])
    assert request.promotion == PromotionRule(STAGING, timedelta(hours=1)), "it is held to it again when it begins"
    # Accepted is accepted: its key answers it also when it would be refused by now.
    await strict.add_version("2.1.0")
    await staging.activate("2.1.0")
    assert (await strict.deploy(key="release-2")).json()["deploymentId"] == accepted.json()["deploymentId"]
    other = await strict.deploy(version="2.0.0")
    assert error_of(other) == (409, "POLICY_NOT_MET")
    assert "2.1.0 is active there since" in other.json()["error"]["message"]


async def test_one_that_begins_later_is_measured_by_the_time_it_begins(strict: ApiWorld, worker: Worker) -> None:
    await strict.add_version("2.0.0")
    staging = Staging(strict.sessions, strict.model)
    await staging.activate("2.0.0")
    await staging.let_pass(timedelta(minutes=30))
    now = datetime.now(UTC)
    too_early = await strict.deploy(startAt=(now + timedelta(minutes=20)).isoformat())
    assert error_of(too_early) == (409, "POLICY_NOT_MET")
    in_time = await strict.deploy(startAt=(now + timedelta(minutes=40)).isoformat())
    assert in_time.status_code == 202, in_time.text


async def test_a_rollback_is_exempt(world: ApiWorld, worker: Worker) -> None:
    await made_active(world, "1.0.0")
    second = await made_active(world, "2.0.0")
    turn_on(world)
    assert error_of(await world.deploy(version="1.0.0")) == (409, "POLICY_NOT_MET")
    assert (await world.say(second, "rollback")).status_code == 202
