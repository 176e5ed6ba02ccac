"""How what serves does, and who is told of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hotswap.domain.monitoring import Active, Alert, AlertKind, Finding


class Monitor(Protocol):
    """How what serves does, by what is known of it now."""

    async def active(self) -> list[Active]:
        """Every active version of every environment, with its model's policy."""

    async def degradation(self, active: Active) -> Finding | None:
        """Whether its predictions have become worse than before, by the outcomes reported of them."""

    async def has_recovered(self, active: Active, alert: Alert) -> bool:
        """Whether lately they were as good again as before that alert."""

    async def drift(self, active: Active) -> Finding | bool:
        """Look for drift now, and keep the report: what has drifted, else whether enough was seen to tell."""


class Alerts(Protocol):
    async def open(self, active: Active, finding: Finding, *, rolls_back: bool) -> None:
        """Unless one of that kind is open for that application."""

    async def open_of(self, deployment_id: str, kind: AlertKind, message: str) -> None:
        """Open one for what a deployment let serve, whether that is active or not, since its weight was verified.

        There is none where one of that kind is open for its application.
        """

    async def opened(self) -> list[Alert]:
        """All that are not resolved."""

    async def of_what_serves_no_more(self) -> list[Alert]:
        """Those of the open ones whose application is neither active nor routed to any more."""

    async def resolve(self, alert_id: str, message: str) -> None: ...

    async def untold(self) -> list[Alert]: ...

    async def told(self, alert_id: str) -> None:
        """Its announcements are under way."""

    async def rolled_back_by(self, alert_id: str, deployment_id: str) -> None: ...


class AlertRollbacks(Protocol):
    """The deployment that takes an alert's version back."""

    async def ask(self, alert: Alert) -> dict[str, Any]:
        """Write its row, once per alert, and answer what its workflow is started with. Raises Conflict."""

    async def withdraw(self, deployment_id: str) -> None:
        """Take back the row of one that could not be started."""


class Announcer(Protocol):
    """Other people's servers, by the names that the settings have for them."""

    def names(self) -> Sequence[str]: ...

    async def announce(self, webhook: str, event: Mapping[str, Any]) -> None:
        """Send an event (CloudEvents, in JSON). Raises Unavailable until the server has taken it."""
