"""What serves, looked at in PostgreSQL: from outcomes and requests to alerts, and to the deployment that goes back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update

from hotswap.deployments.rollback import MonitorRollbacks, WayBack
from hotswap.domain.application import ReplicaResources
from hotswap.domain.errors import Conflict, ValidationFailed
from hotswap.domain.monitoring import Active, Alert, AlertKind, Finding, MonitoringPolicy, OnDegraded
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.messages import DeploymentInput
from hotswap.monitoring.drift import DriftMeter
from hotswap.monitoring.monitor import ActiveVersionMonitor
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.monitoring.alerts import PostgresAlerts
from hotswap.persistence.monitoring.drift import PostgresDriftRecords
from hotswap.persistence.monitoring.monitor import PostgresMonitorData
from hotswap.persistence.monitoring.policies import PostgresMonitoring
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.records.rollups import WIDTHS
from hotswap.persistence.tables import ActiveVersion, Deployment, ModelVersion, OutcomeRollup, TrafficRoute
from hotswap.schemas.monitoring import MonitoringConfig
from hotswap.settings import Settings
from tests.fixtures.api import FakeRay, make_acceptance
from tests.fixtures.api_settings import make_settings
from tests.fixtures.rows import actions, deployment_of, registered
from tests.integration.test_drift import TRAINING, asked, larger, usual, versions

NOW = datetime.now(UTC).replace(second=30, microsecond=0)
BEFORE, AFTER = "app-before", "app-after"


@pytest.fixture
def monitor(sessions: Sessions) -> ActiveVersionMonitor:
    return ActiveVersionMonitor(
        PostgresMonitorData(sessions),
        DriftMeter(PostgresDriftRecords(sessions), clock=NOW.timestamp),
        clock=NOW.timestamp,
    )


@pytest.fixture
def alerts(sessions: Sessions) -> PostgresAlerts:
    return PostgresAlerts(sessions)


async def serves(
    sessions: Sessions, version: str, application: str, *, since: timedelta, until: timedelta | None
) -> str:
    """Make a version active from so long ago until then; answers its deployment's id."""
    deployment_id = await deployment_of(sessions, version)
    async with sessions.begin() as session:
        row = (await session.scalars(select(ModelVersion).where(ModelVersion.version == version))).one()
        session.add(
            ActiveVersion(
                model_id=row.model_id,
                environment="Production",
                version_id=row.version_id,
                deployment_id=deployment_id,
                application=application,
                since=NOW - since,
                until=None if until is None else NOW - until,
            )
        )
        done: dict[str, Any] = {
            "status": "Active",
            "application": application,
            "run_id": "r",
            "started_at": NOW - since,
        }
        if version != "1.0.0":
            wanted = select(ModelVersion.version_id).where(ModelVersion.version == "1.0.0")
            done["previous_version_id"] = (await session.scalars(wanted)).one()
        await session.execute(update(Deployment).where(Deployment.deployment_id == deployment_id).values(**done))
    return deployment_id


async def both_served(sessions: Sessions) -> tuple[str, str]:
    """1.0.0 yesterday, and 2.0.0 for three hours."""
    await registered(sessions, "1.0.0", "2.0.0")
    first = await serves(sessions, "1.0.0", BEFORE, since=timedelta(days=1), until=timedelta(hours=3))
    return first, await serves(sessions, "2.0.0", AFTER, since=timedelta(hours=3), until=None)


async def was(sessions: Sessions, application: str, ago: timedelta, right: int, of: int = 100) -> None:
    """So many predictions of a minute were right, as the matcher counts them."""
    at = (NOW - ago).timestamp()
    async with sessions.begin() as session:
        for width in WIDTHS:
            begin = datetime.fromtimestamp(at // width * width, UTC)
            row = await session.get(OutcomeRollup, (application, width, begin), with_for_update=True)
            if row is None:
                row = OutcomeRollup(
                    application=application,
                    width_seconds=width,
                    at=begin,
                    environment="Production",
                    model="fraud",
                    version="1",
                    labels=0,
                    correct=0,
                )
                session.add(row)
            row.labels += of
            row.correct += right


async def only(monitor: ActiveVersionMonitor) -> Active:
    (active,) = await monitor.active()
    return active


async def test_what_is_active_is_known_with_what_was_before_it(
    sessions: Sessions, monitor: ActiveVersionMonitor
) -> None:
    _, second = await both_served(sessions)
    policy = MonitoringConfig(on_degraded=OnDegraded.ROLLBACK, accuracy_drop=0.1)
    assert await PostgresMonitoring(sessions).set("fraud", policy, by="ann") == "fraud"
    active = await only(monitor)
    assert (active.version, active.application, active.deployment_id) == ("2.0.0", AFTER, second)
    assert (active.version_before, active.application_before) == ("1.0.0", BEFORE)
    assert active.policy == MonitoringPolicy(accuracy_drop=0.1, on_degraded=OnDegraded.ROLLBACK)
    assert active.kind is DeploymentKind.ROLLOUT
    assert "set monitoring" in await actions(sessions, active.model_id)


async def test_a_drop_within_this_hour_is_found_by_the_minute(
    sessions: Sessions, monitor: ActiveVersionMonitor
) -> None:
    await both_served(sessions)
    for minutes in (150, 100, 50, 20, 10):
        await was(sessions, AFTER, timedelta(minutes=minutes), right=98)
    assert await monitor.degradation(await only(monitor)) is None
    await was(sessions, AFTER, timedelta(minutes=3), right=60)
    found = await monitor.degradation(await only(monitor))
    assert found is not None
    assert found.kind is AlertKind.ACCURACY
    assert found.message == "accuracy 60.0% over 100 outcomes, 98.0% before"
    assert timedelta(minutes=3) <= NOW - found.since < timedelta(minutes=10)


async def test_a_version_is_measured_by_the_one_before_it(sessions: Sessions, monitor: ActiveVersionMonitor) -> None:
    await both_served(sessions)
    await was(sessions, BEFORE, timedelta(hours=10), right=294, of=300)
    await was(sessions, BEFORE, timedelta(hours=5), right=196, of=200)
    await was(sessions, AFTER, timedelta(minutes=3), right=60)
    found = await monitor.degradation(await only(monitor))
    assert found is not None
    assert found.message == "accuracy 60.0% over 100 outcomes, 98.0% of version 1.0.0 before it"


async def test_one_alert_is_open_until_it_is_over(
    sessions: Sessions, monitor: ActiveVersionMonitor, alerts: PostgresAlerts
) -> None:
    await both_served(sessions)
    await was(sessions, AFTER, timedelta(minutes=150), right=490, of=500)
    await was(sessions, AFTER, timedelta(minutes=20), right=60)
    active = await only(monitor)
    found = await monitor.degradation(active)
    assert found is not None
    for _ in range(2):
        await alerts.open(active, found, rolls_back=True)
    (alert,) = await alerts.opened()
    assert (alert.model, alert.version, alert.rolls_back, alert.message) == ("fraud", "2.0.0", True, found.message)
    assert await alerts.untold() == [alert]
    await alerts.told(alert.alert_id)
    assert await alerts.untold() == []
    assert not await monitor.has_recovered(active, alert)
    await was(sessions, AFTER, timedelta(minutes=2), right=97)
    assert await monitor.has_recovered(active, alert)
    for _ in range(2):
        await alerts.resolve(alert.alert_id, "good again")
    assert await alerts.opened() == []
    assert (await actions(sessions, active.model_id))[-2:] == ["alert AccuracyDegraded", "alert resolved"]
    await alerts.open(active, found, rolls_back=False)
    assert len(await alerts.opened()) == 1, "the next one is another"


async def test_an_alert_of_what_serves_no_more_is_known(
    sessions: Sessions, monitor: ActiveVersionMonitor, alerts: PostgresAlerts
) -> None:
    await both_served(sessions)
    await alerts.open(await only(monitor), Finding(AlertKind.DRIFT, NOW, "moved"), rolls_back=False)
    assert await alerts.of_what_serves_no_more() == []
    async with sessions.begin() as session:
        await session.execute(update(ActiveVersion).where(ActiveVersion.application == AFTER).values(until=NOW))
    assert len(await alerts.of_what_serves_no_more()) == 1


async def test_what_a_deployment_raised_is_open_for_as_long_as_its_version_is_routed_to(
    sessions: Sessions, alerts: PostgresAlerts
) -> None:
    await registered(sessions, "1.0.0")
    deployment_id = await deployment_of(sessions, "1.0.0")
    async with sessions.begin() as session:
        await session.execute(
            update(Deployment)
            .where(Deployment.deployment_id == deployment_id)
            .values(application="app-first", verified_at=NOW)
        )
        arm = {"application": "app-first", "version": "1.0.0", "deployment_id": deployment_id}
        session.add(
            TrafficRoute(
                environment="Production", model="fraud", candidate=arm, candidate_weight=10_000, epoch=1, sequence=1
            )
        )
    for _ in range(2):
        await alerts.open_of(deployment_id, AlertKind.FIRST_VERSION, "9 of 10 failed")
    (alert,) = await alerts.untold()
    assert (alert.kind, alert.deployment_id, alert.since) == (AlertKind.FIRST_VERSION, deployment_id, NOW)
    assert not alert.rolls_back
    assert await alerts.of_what_serves_no_more() == []
    async with sessions.begin() as session:
        await session.execute(update(TrafficRoute).values(candidate={**arm, "application": "app-second"}))
    assert await alerts.of_what_serves_no_more() == [alert]


async def test_drift_is_found_not_found_or_not_known(sessions: Sessions, monitor: ActiveVersionMonitor) -> None:
    await versions(sessions, TRAINING)
    await serves(sessions, "1.0.0", "app-a", since=timedelta(hours=3), until=None)
    active = await only(monitor)
    assert await monitor.drift(active) is False, "of nothing nothing can be told"
    await asked(sessions, "app-a", usual)
    assert await monitor.drift(active) is True
    await asked(sessions, "app-a", larger, times=2_000)
    found = await monitor.drift(active)
    assert isinstance(found, Finding)
    assert found.kind is AlertKind.DRIFT
    assert found.numbers["distance"] > 0.3
    assert found.message.startswith("amount is ")


def alert_of(deployment_id: str) -> Alert:
    production = Environment.PRODUCTION
    return Alert("alr-1", AlertKind.ACCURACY, "fraud", production, "2.0.0", deployment_id, NOW, NOW, "worse")


def alert_rollbacks(sessions: Sessions, settings: Settings, ray: FakeRay | None = None) -> MonitorRollbacks:
    way_back = WayBack(settings, PostgresDeploymentReader(sessions))
    return MonitorRollbacks(way_back, make_acceptance(sessions, settings, ray))


async def test_the_deployment_that_goes_back_is_asked_for_once(sessions: Sessions, tmp_path: Path) -> None:
    _, second = await both_served(sessions)
    rollbacks = alert_rollbacks(sessions, make_settings(tmp_path))
    asked_for = DeploymentInput.model_validate(await rollbacks.ask(alert_of(second)))
    assert (asked_for.kind, asked_for.version, asked_for.initiated_by) == (DeploymentKind.ROLLBACK, "1.0.0", "monitor")
    assert not asked_for.approval_required, "the way back waits for nobody"
    again = DeploymentInput.model_validate(await rollbacks.ask(alert_of(second)))
    assert again.deployment_id == asked_for.deployment_id
    await rollbacks.withdraw(asked_for.deployment_id)
    anew = DeploymentInput.model_validate(await rollbacks.ask(alert_of(second)))
    assert anew.deployment_id != asked_for.deployment_id


async def test_nobody_goes_back_beside_another_deployment_nor_past_the_first(
    sessions: Sessions, tmp_path: Path
) -> None:
    first, second = await both_served(sessions)
    rollbacks = alert_rollbacks(sessions, make_settings(tmp_path))
    with pytest.raises(Conflict, match=f"{second} has deployed fraud to Production since"):
        await rollbacks.ask(alert_of(first))
    under_way = await deployment_of(sessions, "2.0.0")
    with pytest.raises(Conflict, match=f"{under_way} is under way"):
        await rollbacks.ask(alert_of(second))


async def test_nobody_goes_back_where_there_is_no_room(sessions: Sessions, tmp_path: Path) -> None:
    """By the same checks as a rollback that a person asks for."""
    _, second = await both_served(sessions)
    async with sessions.begin() as session:
        await session.execute(update(Deployment).values(resources=msgspec.to_builtins(ReplicaResources(gpus=1))))
    with pytest.raises(ValidationFailed, match="GPU"):
        await alert_rollbacks(sessions, make_settings(tmp_path), FakeRay(gpus=0)).ask(alert_of(second))
