"""The monitor on a real Temporal server: what it finds is told once, and taken back where policy says so."""

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client

from activities.monitoring import MonitoringActivities
from hotswap.domain.monitoring import Active, AlertKind, Finding, MonitoringPolicy, OnDegraded
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.messages import DeploymentInput
from tests.fixtures.patience import until
from tests.workflows.watchtower import NOW, FakeAlerts, FakeAnnouncer, FakeMonitor, FakeRollbacks
from workflows import schedules
from workflows.monitor import AnnouncementWorkflow, MonitorWorkflow
from workflows.polling import Worker
from workflows.worker import SANDBOX

WORSE = Finding(AlertKind.ACCURACY, NOW, "accuracy 50% over 100 outcomes, 98% before", {"recent": 0.5, "limit": 0.93})
MOVED = Finding(AlertKind.DRIFT, NOW, "amount is 0.50 from its training reference", {"distance": 0.5})
ROLLS_BACK = MonitoringPolicy(on_degraded=OnDegraded.ROLLBACK)


@workflow.defn(name="Deployment", sandboxed=False)
class WaitingDeployment:
    """Stands for a deployment that is under way."""

    @workflow.run
    async def run(self, request: DeploymentInput) -> str:
        await workflow.wait_condition(lambda: False, timeout=timedelta(minutes=1))
        return request.deployment_id


def active(model: str, policy: MonitoringPolicy = MonitoringPolicy(), **changes: Any) -> Active:  # noqa: B008
    found = Active(
        model_id=f"id-{model}",
        model=model,
        environment=Environment.PRODUCTION,
        version_id="v2",
        version="2.0.0",
        application=f"app-{model}",
        deployment_id=f"dep-{model}",
        kind=DeploymentKind.ROLLOUT,
        since=NOW,
        policy=policy,
        version_before="1.0.0",
        application_before=f"app-before-{model}",
    )
    return replace(found, **changes)


@dataclass
class Tower:
    client: Client
    queue: str
    monitor: FakeMonitor
    alerts: FakeAlerts = field(default_factory=FakeAlerts)
    rollbacks: FakeRollbacks = field(default_factory=FakeRollbacks)
    announcer: FakeAnnouncer = field(default_factory=lambda: FakeAnnouncer("ops", "retraining"))

    async def look(self, kind: AlertKind = AlertKind.ACCURACY) -> list[str]:
        told: list[str] = await self.client.execute_workflow(
            "Monitor", kind, id=f"monitor-{uuid.uuid4().hex}", task_queue=self.queue, result_type=list[str]
        )
        return told

    async def heard(self, number: int) -> list[tuple[str, str]]:
        await until(lambda: len(self.announcer.heard) >= number, what=f"event {number}")
        return sorted((webhook, str(event["type"])) for webhook, event in self.announcer.heard)


@pytest.fixture
async def tower(temporal_client: Client) -> AsyncIterator[Tower]:
    model = f"fraud-{uuid.uuid4().hex[:6]}"
    made = Tower(temporal_client, f"monitor-{model}", FakeMonitor(active(model)))
    activities = MonitoringActivities(made.monitor, made.alerts, made.rollbacks, made.announcer)
    worker = Worker(
        temporal_client,
        task_queue=made.queue,
        workflows=[MonitorWorkflow, AnnouncementWorkflow, WaitingDeployment],
        activities=[
            activities.look_at_accuracy,
            activities.look_for_drift,
            activities.announce,
            activities.mark_told,
            activities.ask_for_rollback,
            activities.record_rollback,
        ],
        workflow_runner=SANDBOX,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(worker)
        yield made


def model_of(tower: Tower) -> str:
    return tower.monitor.actives[0].model


async def test_what_predicts_worse_is_told_to_everybody_once(tower: Tower) -> None:
    tower.monitor.found = {model_of(tower): WORSE}
    assert len(await tower.look()) == 4
    assert await tower.look() == []
    everybody = [
        (webhook, event)
        for webhook in ("ops", "retraining")
        for event in ("hotswap.alert.raised", "hotswap.retraining.requested")
    ]
    assert await tower.heard(4) == everybody
    (alert,) = await tower.alerts.opened()
    _, event = tower.announcer.heard[0]
    assert event["specversion"] == "1.0"
    assert event["id"].startswith(alert.alert_id)
    assert (event["subject"], event["data"]["message"]) == (model_of(tower), WORSE.message)
    assert tower.rollbacks.asked == [], "its policy doesn't say so"


async def test_a_webhook_that_is_away_learns_of_it_when_it_is_back(tower: Tower) -> None:
    tower.announcer.webhooks, tower.announcer.failures = ("ops",), 2
    tower.monitor.drifted = {model_of(tower): MOVED}
    (announcement,) = await tower.look(AlertKind.DRIFT)
    assert await tower.heard(1) == [("ops", "hotswap.alert.raised")], "drift by itself asks for no training"
    history = await tower.client.get_workflow_handle(announcement).describe()
    assert history.workflow_type == "Announcement"


async def test_an_alert_that_nobody_was_told_of_is_found_again(tower: Tower) -> None:
    """As after a run that was terminated between writing it down and telling of it."""
    await tower.alerts.open(tower.monitor.actives[0], WORSE, rolls_back=False)
    await tower.look()
    assert len(await tower.heard(4)) == 4


@pytest.mark.parametrize("kind", sorted(set(AlertKind) - {AlertKind.ACCURACY, AlertKind.DRIFT}))
async def test_what_a_deployment_has_raised_is_told_by_the_look_of_each_minute(tower: Tower, kind: AlertKind) -> None:
    tower.announcer.webhooks = ("ops",)
    raised = Finding(kind, NOW, "9 of 10 failed")
    await tower.alerts.open(tower.monitor.actives[0], raised, rolls_back=False)
    assert await tower.look(AlertKind.DRIFT) == []
    assert len(await tower.look()) == 1
    assert await tower.heard(1) == [("ops", "hotswap.alert.raised")]
    assert tower.announcer.heard[0][1]["data"]["kind"] == kind
    assert tower.rollbacks.asked == []


async def test_policy_takes_it_back_once(tower: Tower) -> None:
    model = model_of(tower)
    tower.monitor.actives = (active(model, ROLLS_BACK),)
    tower.monitor.found = {model: WORSE}
    started = await tower.look()
    assert f"deployment/Production/{model}" in started
    await tower.look()
    assert len(tower.rollbacks.asked) == 1
    (alert,) = await tower.alerts.opened()
    assert alert.rollback_id == f"back-from-dep-{model}"
    running = tower.client.get_workflow_handle(f"deployment/Production/{model}")
    assert (await (await running.describe()).memo())["deploymentId"] == alert.rollback_id
    await running.terminate()


async def test_what_cannot_be_taken_back_now_is_tried_again(tower: Tower) -> None:
    model = model_of(tower)
    tower.monitor.actives = (active(model, ROLLS_BACK),)
    tower.monitor.found = {model: WORSE}
    tower.rollbacks.refusal = "dep-x is under way"
    await tower.look()
    tower.rollbacks.refusal = None
    other = DeploymentInput(
        deployment_id="dep-x", environment=Environment.PRODUCTION, model=model, version="3.0.0", initiated_by="ann"
    )
    running = await tower.client.start_workflow(
        "Deployment", other, id=f"deployment/Production/{model}", task_queue=tower.queue
    )
    await tower.look()
    assert tower.rollbacks.withdrawn == [f"back-from-dep-{model}"], "its row must not stay behind"
    assert (await tower.alerts.opened())[0].rollback_id is None
    await running.terminate()
    await tower.look()
    assert (await tower.alerts.opened())[0].rollback_id == f"back-from-dep-{model}"
    await tower.client.get_workflow_handle(f"deployment/Production/{model}").terminate()


async def test_a_look_for_drift_leaves_what_is_of_accuracy_to_the_other(tower: Tower) -> None:
    """Both run at the same time: what one has in hand must not be told or taken back a second time by the other."""
    await tower.alerts.open(tower.monitor.actives[0], WORSE, rolls_back=True)
    assert await tower.look(AlertKind.DRIFT) == []
    assert tower.rollbacks.asked == []
    assert len(await tower.alerts.untold()) == 1


@pytest.mark.parametrize(
    "changes", [{"kind": DeploymentKind.ROLLBACK}, {"version_before": None, "application_before": None}]
)
async def test_there_is_no_going_to_and_fro_and_none_to_nothing(tower: Tower, changes: dict[str, Any]) -> None:
    model = model_of(tower)
    tower.monitor.actives = (active(model, ROLLS_BACK, **changes),)
    tower.monitor.found = {model: WORSE}
    await tower.look()
    assert tower.rollbacks.asked == []
    assert len(await tower.alerts.opened()) == 1


async def test_an_alert_ends_when_its_cause_has(tower: Tower) -> None:
    model = model_of(tower)
    tower.monitor.found = {model: WORSE}
    tower.monitor.drifted = {model: MOVED}
    await tower.look()
    await tower.look(AlertKind.DRIFT)
    assert len(await tower.alerts.opened()) == 2
    tower.monitor.drifted = {model: False}  # it can't be told
    await tower.look(AlertKind.DRIFT)
    assert len(await tower.alerts.opened()) == 2
    tower.monitor.drifted, tower.monitor.recovered = {model: True}, True
    await tower.look(AlertKind.DRIFT)
    await tower.look()
    assert await tower.alerts.opened() == []


async def test_an_alert_ends_with_what_it_is_of(tower: Tower) -> None:
    tower.monitor.found = {model_of(tower): WORSE}
    await tower.look()
    tower.alerts.serving, tower.monitor.actives = set(), ()
    await tower.look()
    (over,) = tower.alerts.all.values()
    assert over.resolution == "2.0.0 serves no more in Production"


async def test_one_that_cannot_be_looked_at_hides_no_other(tower: Tower) -> None:
    other = f"{model_of(tower)}-b"
    tower.monitor.actives = (*tower.monitor.actives, active(other))
    tower.monitor.found = {model_of(tower): ValueError("no sense"), other: WORSE}
    await tower.look()
    assert [each.model for each in await tower.alerts.opened()] == [other]


async def test_the_schedules_are_made_once_and_stay_paused(temporal_client: Client) -> None:
    queue = f"schedules-{uuid.uuid4().hex[:6]}"
    await schedules.ensure_schedules(temporal_client, task_queue=queue)
    handles = {name: temporal_client.get_schedule_handle(name) for name in schedules.SCHEDULES}
    await handles["reconcile"].pause(note="not now")
    await schedules.ensure_schedules(temporal_client, task_queue=queue)
    for name, timed in schedules.SCHEDULES.items():
        found = await handles[name].describe()
        assert found.schedule.state.paused is (name == "reconcile")
        assert [each.every for each in found.schedule.spec.intervals] == [timed.every]
        await handles[name].delete()
