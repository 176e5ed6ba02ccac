"""Fixtures that start real servers, each once per session of pytest."""

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
