"""The command line, with canned answers in place of the API's."""

import pytest

from tests.fixtures.cli import Cli


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(monkeypatch)
