"""Fixtures that start real servers, each once per session of pytest; and time-outs that suit the machine."""

pytest_plugins = [
    "tests.fixtures.timeouts",
    "tests.fixtures.postgres",
    "tests.fixtures.s3",
    "tests.fixtures.stack",
    "tests.fixtures.temporal",
    "tests.fixtures.valkey",
    "tests.fixtures.work",
    "tests.fixtures.envoy",  # after those that it imports
    "tests.fixtures.traffic",
]
