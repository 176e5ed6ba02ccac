"""Quality of active versions, and where alerts about them are sent."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hotswap.domain.monitoring import Active, Alert, AlertKind, Finding


class Monitor(Protocol):
    """The present knowledge of how well active versions predict."""

    async def active(self) -> list[Active]:
        """Return every active version of every environment, with its model's policy."""

    async def degradation(self, active: Active) -> Finding | None:
        """Return a finding if its predictions became worse than before, judged by the reported outcomes."""

    async def has_recovered(self, active: Active, alert: Alert) -> bool:
        """Return whether its predictions are lately as good again as before that alert."""

    async def drift(self, active: Active) -> Finding | bool:
        """Compare with the reference now, and store the report.

        Return what has drifted; otherwise return whether there was enough data to tell.
        """


class Alerts(Protocol):
    async def open(self, active: Active, finding: Finding, *, rolls_back: bool) -> None:
        """Open an alert, unless one of that kind is open for that application."""

    async def open_of(self, deployment_id: str, kind: AlertKind, message: str) -> None:
        """Open an alert about the application of a deployment, active or not, since its weight was verified.

        Nothing happens where an alert of that kind is open for the application.
        """

    async def opened(self) -> list[Alert]:
        """Return all alerts that are not resolved."""

    async def of_what_serves_no_more(self) -> list[Alert]:
        """Return the open alerts whose application is neither active nor in a route any more."""

    async def resolve(self, alert_id: str, message: str) -> None: ...

    async def untold(self) -> list[Alert]: ...

    async def told(self, alert_id: str) -> None:
        """Note that the alert's announcements have been started."""

    async def rolled_back_by(self, alert_id: str, deployment_id: str) -> None: ...


class AlertRollbacks(Protocol):
    """The deployment that takes an alert's version back."""

    async def ask(self, alert: Alert) -> dict[str, Any]:
        """Write its row, once per alert, and answer what its workflow is started with. Raises Conflict."""

    async def withdraw(self, deployment_id: str) -> None:
        """Take back the row of one that could not be started."""


class Announcer(Protocol):
    """The webhooks of other people's servers, by the names that the settings give them."""

    def names(self) -> Sequence[str]: ...

    async def announce(self, webhook: str, event: Mapping[str, Any]) -> None:
        """Send an event (CloudEvents, in JSON). Raises Unavailable until the server has taken it."""
