"""Fixtures that start real servers, each once per session of pytest; and time-outs that suit the machine."""

import pytest
from hypothesis import settings

from tests.fixtures.patience import patient

# How long an example takes says nothing on a busy machine; timings are `make bench`'s.
settings.register_profile("hotswap", deadline=None)
settings.register_profile("quick", settings.get_profile("hotswap"), max_examples=20)
settings.load_profile("hotswap")

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.s3",
    "tests.fixtures.stack",
    "tests.fixtures.temporal",
    "tests.fixtures.valkey",
    "tests.fixtures.work",
    "tests.fixtures.envoy",  # after those that it imports
    "tests.fixtures.traffic",
]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Scale the time-out of every test that has none of its own."""
    if config.option.timeout is None:
        config.option.timeout = patient(float(config.getini("timeout")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scale the time-outs that tests have of their own."""
    for item in items:
        if (own := item.get_closest_marker("timeout")) is not None:
            item.add_marker(pytest.mark.timeout(patient(own.args[0])), append=False)
