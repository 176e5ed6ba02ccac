"""A proxy's public listeners, by which it takes requests: they open once it is registered and has the newest plan.

A proxy that is new, or was away for longer than its lease, is one that nobody may have waited for. So it opens no
listener before that. Where neither Redis nor the API answers for a while, it opens them with the plan that it has,
because traffic outlives the control loop. While another proxy holds its name it opens none.
"""

import time
from collections.abc import Callable

from hotswap.settings import TrafficAgentSettings
from serving.envoy.files import are_listeners_open, open_listeners

OPEN_ANYWAY_SECONDS = 10.0
"""How long a proxy waits for the newest plan, while neither Redis nor the API answers."""


class NotOpenYet(Exception):
    """The proxy may not take requests yet; the message says what it waits for."""


class PublicListeners:
    """They know what they still wait for. `name_taken` and `foreign_plan` say what is against it, or None."""

    def __init__(self, settings: TrafficAgentSettings, *, stopwatch: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._stopwatch = stopwatch
        self._began_at = stopwatch()
        self.is_open = are_listeners_open(settings.agent.envoy_dir)
        self.is_registered = False
        self.has_newest_plan = False
        self.name_taken: str | None = None
        self.foreign_plan: str | None = None

    @property
    def objection(self) -> str | None:
        return self.name_taken or self.foreign_plan

    def open(self) -> None:
        """Let Envoy take requests, if it doesn't yet. Raises NotOpenYet."""
        if self.is_open:
            return
        if self.objection is not None:
            raise NotOpenYet(f"this proxy takes no request: {self.objection}")
        is_alone = self._stopwatch() - self._began_at > OPEN_ANYWAY_SECONDS
        if not (self.is_registered or is_alone):
            raise NotOpenYet("this proxy takes no request until Redis or the API has taken its first report")
        if not (self.has_newest_plan or is_alone):
            raise NotOpenYet("this proxy takes no request until Redis or the API has told it the newest plan")
        open_listeners(self._settings)
        self.is_open = True
