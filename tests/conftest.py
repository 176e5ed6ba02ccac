"""Fixtures that start real servers, each once per session of pytest."""

import pytest

pytest_plugins = [
    "tests.fixtures.postgres",
    "tests.fixtures.s3",
    "tests.fixtures.stack",
    "tests.fixtures.temporal",
    "tests.fixtures.valkey",
    "tests.fixtures.work",
    "tests.fixtures.envoy",  # after those that it imports
]

ON_ONE_STACK = ("victim", "laboratory", "stack")
"""Fixtures that are a whole stack each: all who use one have to be in the same of xdist's workers."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every file, or all files of one stack, to one worker of `--dist loadgroup`."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        stack = next((name for name in ON_ONE_STACK if name in fixtures), None)
        item.add_marker(pytest.mark.xdist_group(stack or item.path.stem))
