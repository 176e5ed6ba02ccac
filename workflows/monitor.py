"""Monitors active versions: accuracy every minute, drift every hour. It announces alerts, and rolls back.

Schedules start it (`workflows/schedules.py`). What it finds is on record first. Every announcement and every rollback
is a workflow of its own, under an id that says whose it is: so a run that is repeated, or overtaken by the next one,
starts nothing twice.
"""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy

with workflow.unsafe.imports_passed_through():
    from activities.monitoring import MonitoringActivities
    from hotswap.domain.ids import announcement_workflow_id
    from hotswap.domain.monitoring import Alert, AlertKind
    from hotswap.messages import AlertEvent, Announcement, RollbackStarted
    from workflows.activity_options import forward
    from workflows.children import Handle, start_child, start_deployment

CHECK_DEADLINE = timedelta(minutes=10)
STEP_DEADLINE = timedelta(minutes=1)
ANNOUNCED_FOR = timedelta(days=1)
"""A server that is away may come back within this and learns of it still."""

ALERT, RETRAINING = "hotswap.alert.raised", "hotswap.retraining.requested"


@workflow.defn(name="Monitor")
class MonitorWorkflow:
    @workflow.run
    async def run(self, kind: AlertKind) -> list[str]:
        """Start what the alerts ask for, and return the ids of the workflows that were started."""
        check = (
            MonitoringActivities.look_at_accuracy if kind is AlertKind.ACCURACY else MonitoringActivities.look_for_drift
        )
        found = await workflow.execute_activity_method(check, **forward("look at what serves", deadline=CHECK_DEADLINE))
        started: list[Handle | None] = []
        for alert in found.alerts:
            for event in _events(alert):
                started += [await _announce(webhook, event) for webhook in found.webhooks]
            await workflow.execute_activity_method(
                MonitoringActivities.mark_told,
                alert.alert_id,
                **forward(f"{alert.alert_id} is told", deadline=STEP_DEADLINE),
            )
        started += [await _roll_back(alert) for alert in found.to_roll_back]
        return [each.id for each in started if each is not None]


@workflow.defn(name="Announcement")
class AnnouncementWorkflow:
    """One event to one webhook, until its server has taken it."""

    @workflow.run
    async def run(self, announcement: Announcement) -> None:
        await workflow.execute_activity_method(
            MonitoringActivities.announce,
            announcement,
            summary=f"tell {announcement.webhook} of {announcement.event.type}",
            start_to_close_timeout=timedelta(seconds=30),
            schedule_to_close_timeout=ANNOUNCED_FOR,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5)),
        )


def _events(alert: Alert) -> list[AlertEvent]:
    """Return the event of the alert; if predictions became worse, also an event that asks for a new training."""
    types = [ALERT, RETRAINING] if alert.kind is AlertKind.ACCURACY else [ALERT]
    data = {
        "alertId": alert.alert_id,
        "kind": alert.kind,
        "model": alert.model,
        "version": alert.version,
        "environment": alert.environment,
        "deploymentId": alert.deployment_id,
        "since": alert.since.isoformat(),
        "message": alert.message,
        "numbers": alert.numbers,
        "rollsBack": alert.rolls_back,
    }
    return [
        AlertEvent(
            id=f"{alert.alert_id}/{type_.split('.')[1]}",
            source=f"/hotswap/{alert.environment}/{alert.model}",
            type=type_,
            subject=alert.model,
            time=alert.at,
            data=data,
        )
        for type_ in types
    ]


async def _announce(webhook: str, event: AlertEvent) -> Handle | None:
    return await start_child(
        "Announcement",
        Announcement(webhook=webhook, event=event),
        workflow_id=announcement_workflow_id(webhook, event.id),
        summary=f"tell {webhook} of {event.type}: {event.subject}",
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
    )


async def _roll_back(alert: Alert) -> Handle | None:
    """Start a rollback, unless another deployment is under way there: then a later check tries again."""
    asked = await workflow.execute_activity_method(
        MonitoringActivities.ask_for_rollback,
        alert,
        **forward(f"ask for a rollback of {alert.deployment_id}", deadline=STEP_DEADLINE),
    )
    wanted = asked.deployment
    if wanted is None:
        workflow.set_current_details(f"**{alert.model}** is not rolled back yet: {asked.message}")
        return None
    started = await start_deployment(
        wanted, summary=f"roll {wanted.model} back to {wanted.version} in {wanted.environment}: {alert.alert_id}"
    )
    await workflow.execute_activity_method(
        MonitoringActivities.record_rollback,
        RollbackStarted(alert_id=alert.alert_id, deployment_id=wanted.deployment_id, started=started is not None),
        **forward(f"record what became of {wanted.deployment_id}", deadline=STEP_DEADLINE),
    )
    return started
