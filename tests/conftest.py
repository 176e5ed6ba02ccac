"""Fixtures that start real servers, each once per session of pytest."""

import pytest
from hypothesis import settings

# How long an example takes says nothing on a busy machine; timings are `make bench`'s.
settings.register_profile("hotswap", deadline=None)
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
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what one process of `make test` runs by itself, longest first.

    All that a whole stack is needed for: two cores carry one stack, and of two neither is ready in time. All contracts:
    they share one Ray. Else a file each.
    """
    items.sort(key=lambda item: item.get_closest_marker("stack") is None)
    for item in items:
        if item.get_closest_marker("stack") is not None:
            together = "stack"
        elif item.path.parent.name == "contracts":
            together = "contracts"
        else:
            together = item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(together))
