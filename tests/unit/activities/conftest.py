"""Activities as a worker runs them, without a server."""

import pytest
from temporalio.testing import ActivityEnvironment

from activities import observations


@pytest.fixture
def reads_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a watch doesn't know whether the proxies' reports are fresh, it reads them without a pause."""
    monkeypatch.setattr(observations, "AGAIN_SECONDS", 0.001)


@pytest.fixture
def environment(reads_again_at_once: None) -> ActivityEnvironment:
    return ActivityEnvironment()
