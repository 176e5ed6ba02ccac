"""Runs the suite's parts, says what they cost, and runs what failed once more: `python -m tests.suite --help`."""
