"""A rollback that the monitor asks for: what refuses it, and what only delays it."""

from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.monitoring import MonitoringActivities
from hotswap.domain.errors import Conflict, Unavailable
from hotswap.domain.monitoring import Alert

ALERT = cast("Alert", type("AnAlert", (), {"alert_id": "alr-1", "model": "fraud"})())


class Rollbacks:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def ask(self, alert: Alert) -> dict[str, Any]:
        raise self._error


def asking(error: Exception) -> Any:
    ports: Any = None
    return MonitoringActivities(ports, ports, cast("Any", Rollbacks(error)), ports).ask_for_rollback


async def test_a_refusal_is_told() -> None:
    answer = await ActivityEnvironment().run(asking(Conflict("dep-1 is under way")), ALERT)
    assert (answer.deployment, answer.message) == (None, "dep-1 is under way")


async def test_a_database_that_is_away_refuses_nothing() -> None:
    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(asking(Unavailable("the database doesn't answer")), ALERT)
    assert not raised.value.non_retryable, "Temporal tries again"
