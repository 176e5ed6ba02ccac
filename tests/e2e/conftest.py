"""Models for the end-to-end tests: the demo's three versions, trained once."""

from collections.abc import Callable

import pytest

from hotswap.cli.demo.models import TrainedModels, train
from tests.fixtures.stack import Stack


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedModels:
    return train(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def register(stack: Stack, trained: TrainedModels) -> Callable[[str, str], None]:
    """Upload and register one of the demo's versions under a model's name."""

    def run(model: str, version: str) -> None:
        uri = f"s3://ml-models/{model}/{version}.tar.gz"
        stack.storage.upload(trained.archives[version], uri)
        stack.api.register_model(name=model, version=version, framework="ONNX", artifact_path=uri)

    return run
