"""Monitors active versions: raises alerts, and prepares what follows from them. The monitor's workflow carries it out.

An alert is a row before anything acts on it, and a row that was not announced is found again: so a check that is
interrupted loses nothing, and one that is repeated announces nothing twice.
"""

import logging

from temporalio import activity

from activities.heartbeating import heartbeating
from hotswap.domain.errors import HotSwapError, Unavailable
from hotswap.domain.monitoring import Active, Alert, AlertKind, Finding, rolls_back
from hotswap.messages import (
    Announcement,
    DeploymentInput,
    MonitorFindings,
    RaiseAlert,
    RollbackRequest,
    RollbackStarted,
)
from hotswap.ports import AlertRollbacks, Alerts, Announcer, Monitor

logger = logging.getLogger(__name__)


class MonitoringActivities:
    def __init__(self, monitor: Monitor, alerts: Alerts, rollbacks: AlertRollbacks, announcer: Announcer) -> None:
        self._monitor = monitor
        self._alerts = alerts
        self._rollbacks = rollbacks
        self._announcer = announcer

    @activity.defn
    @heartbeating
    async def look_at_accuracy(self) -> MonitorFindings:
        """Check whether active versions predict worse than before."""
        return await self._check(AlertKind.ACCURACY)

    @activity.defn
    @heartbeating
    async def look_for_drift(self) -> MonitorFindings:
        """Check whether the requests to active versions still look like their training data."""
        return await self._check(AlertKind.DRIFT)

    @activity.defn
    @heartbeating
    async def announce(self, announcement: Announcement) -> None:
        event = announcement.event.model_dump(mode="json", by_alias=True)
        await self._announcer.announce(announcement.webhook, event)

    @activity.defn
    @heartbeating
    async def raise_alert(self, alert: RaiseAlert) -> None:
        """Store an alert; the monitor's next check announces it."""
        await self._alerts.open_of(alert.deployment_id, alert.kind, alert.message)

    @activity.defn
    @heartbeating
    async def mark_told(self, alert_id: str) -> None:
        await self._alerts.told(alert_id)

    @activity.defn
    @heartbeating
    async def ask_for_rollback(self, alert: Alert) -> RollbackRequest:
        try:
            deployment = DeploymentInput.model_validate(await self._rollbacks.ask(alert))
        except Unavailable:  # that is no refusal: Temporal tries again
            raise
        except HotSwapError as error:
            told = {"alert": alert.alert_id, "error": error.message}
            logger.warning("%s is not rolled back", alert.model, extra=told)
            return RollbackRequest(message=error.message)
        return RollbackRequest(deployment=deployment)

    @activity.defn
    @heartbeating
    async def record_rollback(self, begun: RollbackStarted) -> None:
        if begun.started:
            await self._alerts.rolled_back_by(begun.alert_id, begun.deployment_id)
        else:
            await self._rollbacks.withdraw(begun.deployment_id)

    async def _check(self, kind: AlertKind) -> MonitorFindings:
        for alert in await self._alerts.of_what_serves_no_more():
            await self._alerts.resolve(alert.alert_id, f"{alert.version} serves no more in {alert.environment}")
        opened = {
            (alert.deployment_id, alert.environment): alert
            for alert in await self._alerts.opened()
            if alert.kind is kind
        }
        for active in await self._monitor.active():
            known = opened.get((active.deployment_id, active.environment))
            try:
                await (self._accuracy if kind is AlertKind.ACCURACY else self._drift)(active, known)
            except Exception:
                # One model that can't be checked must not hide what is wrong with the others.
                logger.exception("%s can't be monitored", active.model, extra={"deployment": active.deployment_id})
        return await self._found(kind)

    async def _accuracy(self, active: Active, known: Alert | None) -> None:
        if known is None:
            if (finding := await self._monitor.degradation(active)) is not None:
                await self._open(active, finding)
        elif await self._monitor.has_recovered(active, known):
            await self._alerts.resolve(known.alert_id, "its predictions are as good again as before")

    async def _drift(self, active: Active, known: Alert | None) -> None:
        if not active.policy.drift:
            return
        seen = await self._monitor.drift(active)
        if isinstance(seen, Finding):
            await self._open(active, seen)
        elif seen and known is not None:
            await self._alerts.resolve(known.alert_id, "nothing is far from its reference any more")

    async def _open(self, active: Active, finding: Finding) -> None:
        await self._alerts.open(active, finding, rolls_back=rolls_back(active, finding.kind))

    async def _found(self, kind: AlertKind) -> MonitorFindings:
        """Return the findings of this kind alone: checks of the other kind run at the same time, and handle theirs.

        Alerts that deployments raise are announced by the check that runs each minute.
        """
        seen_to = {kind} if kind is AlertKind.DRIFT else set(AlertKind) - {AlertKind.DRIFT}
        opened, untold = [
            [alert for alert in alerts if alert.kind in seen_to]
            for alerts in (await self._alerts.opened(), await self._alerts.untold())
        ]
        due = [alert for alert in opened if alert.rolls_back and alert.rollback_id is None]
        return MonitorFindings(
            alerts=tuple(untold),
            webhooks=tuple(self._announcer.names()),
            to_roll_back=tuple(due),
        )
