"""Hypothesis's profiles, for the tests that draw hostile models."""

import tests.fixtures.examples  # noqa: F401  it registers the profiles
