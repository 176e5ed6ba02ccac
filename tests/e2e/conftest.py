"""The demo's versions on the session's stack."""

from collections.abc import Callable

import pytest

from hotswap.demo.models import TrainedModels
from tests.fixtures import work
from tests.fixtures.stack import Stack


@pytest.fixture(scope="session")
def register(stack: Stack, trained: TrainedModels) -> Callable[[str, str], None]:
    """Upload and register one of the demo's versions under a model's name."""
    return lambda model, version: work.register(stack, trained, model, version)
