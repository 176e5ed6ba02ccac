"""Fakes behind the monitor's ports, which remember what was asked of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hotswap.domain.errors import Conflict, Unavailable
from hotswap.domain.monitoring import Active, Alert, AlertKind, Finding
from hotswap.domain.vocabulary import DeploymentKind, Environment
from hotswap.messages import DeploymentInput

NOW = datetime(2026, 11, 26, tzinfo=UTC)


class FakeMonitor:
    def __init__(self, *actives: Active) -> None:
        self.actives = actives
        self.found: dict[str, Finding | Exception] = {}
        self.drifted: dict[str, Finding | bool] = {}
        self.recovered = False

    async def active(self) -> list[Active]:
        return list(self.actives)

    async def degradation(self, active: Active) -> Finding | None:
        found = self.found.get(active.model)
        if isinstance(found, Exception):
            raise found
        return found

    async def has_recovered(self, active: Active, alert: Alert) -> bool:
        return self.recovered

    async def drift(self, active: Active) -> Finding | bool:
        return self.drifted.get(active.model, True)


class FakeAlerts:
    def __init__(self) -> None:
        self.all: dict[str, Alert] = {}
        self.raised: list[tuple[str, AlertKind, str]] = []
        """What deployments have raised."""
        self.announced: set[str] = set()
        self.serving: set[str] | None = None

    async def open(self, active: Active, finding: Finding, *, rolls_back: bool) -> None:
        if any(
            each.deployment_id == active.deployment_id and each.kind is finding.kind for each in await self.opened()
        ):
            return
        alert_id = f"alr-{active.deployment_id}-{len(self.all)}"
        self.all[alert_id] = Alert(
            alert_id,
            finding.kind,
            active.model,
            active.environment,
            active.version,
            active.deployment_id,
            NOW,
            finding.since,
            finding.message,
            finding.numbers,
            rolls_back,
        )

    async def open_of(self, deployment_id: str, kind: AlertKind, message: str) -> None:
        self.raised.append((deployment_id, kind, message))

    async def opened(self) -> list[Alert]:
        return [each for each in self.all.values() if each.resolved_at is None]

    async def of_what_serves_no_more(self) -> list[Alert]:
        return [each for each in await self.opened() if self.serving is not None and each.model not in self.serving]

    async def resolve(self, alert_id: str, why: str) -> None:
        self.all[alert_id] = replace(self.all[alert_id], resolved_at=NOW, resolution=why)

    async def untold(self) -> list[Alert]:
        return [each for each in self.all.values() if each.alert_id not in self.announced]

    async def told(self, alert_id: str) -> None:
        self.announced.add(alert_id)

    async def rolled_back_by(self, alert_id: str, deployment_id: str) -> None:
        self.all[alert_id] = replace(self.all[alert_id], rollback_id=deployment_id)


class FakeRollbacks:
    def __init__(self) -> None:
        self.refusal: str | None = None
        self.asked: list[str] = []
        self.withdrawn: list[str] = []

    async def ask(self, alert: Alert) -> dict[str, Any]:
        self.asked.append(alert.alert_id)
        if self.refusal is not None:
            raise Conflict(self.refusal)
        wanted = DeploymentInput(
            deployment_id=f"back-from-{alert.deployment_id}",
            kind=DeploymentKind.ROLLBACK,
            environment=Environment.PRODUCTION,
            model=alert.model,
            version="1.0.0",
            initiated_by="monitor",
        )
        return wanted.model_dump(mode="json", by_alias=True)

    async def withdraw(self, deployment_id: str) -> None:
        self.withdrawn.append(deployment_id)


class FakeAnnouncer:
    def __init__(self, *webhooks: str) -> None:
        self.webhooks = webhooks
        self.heard: list[tuple[str, Mapping[str, Any]]] = []
        self.failures = 0

    def names(self) -> Sequence[str]:
        return self.webhooks

    async def announce(self, webhook: str, event: Mapping[str, Any]) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable(f"webhook {webhook} answers 503")
        self.heard.append((webhook, event))
