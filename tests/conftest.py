"""Fixtures that start real servers, each once per session of pytest."""

from hypothesis import settings

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
