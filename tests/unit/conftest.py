"""What tests of several rooms take. It imports little, since every run of them imports it."""

import pytest

import tests.fixtures.examples  # noqa: F401  it registers the profiles
from hotswap.settings import Settings
from tests.fixtures.api_settings import make_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory.mktemp("api"))
