"""One stack for all chaos: nothing that is killed here is anybody else's."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotswap.demo.models import TrainedModels
from hotswap.domain.lifecycle import DeploymentStatus
from hotswap.schemas.requests import CreateDeployment
from tests.fixtures import work
from tests.fixtures.ports import free_base
from tests.fixtures.stack import Stack, hotswap, start

SPOOL_BYTES = 4 * 1024**2
REPLICAS = 2


@pytest.fixture(scope="package")
def victim() -> Iterator[Stack]:
    """A stack whose replicas have small spools."""
    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory(prefix="hotswap-chaos-") as place:
        environment.setenv("HOTSWAP_SERVING__SPOOL_MAX_BYTES", str(SPOOL_BYTES))
        environment.setenv("HOTSWAP_SERVING__RECORD_MAX_BYTES", str(SPOOL_BYTES))
        Path(place).chmod(0o711)
        data = Path(place) / "data"
        try:
            started = start(data, free_base())
            yield started
            started.close()
        finally:
            hotswap("down", "--data-dir", str(data), expect=None)


@pytest.fixture(scope="package")
def served(victim: Stack, trained: TrainedModels) -> str:
    """A model whose first version serves from two replicas, and whose second is registered."""
    model = "served"
    for version in ("1.0.0", "2.0.0"):
        work.register(victim, trained, model, version)
    accepted = victim.api.deployments.start(
        CreateDeployment(model_id=model, version="1.0.0", resources={"replicas": REPLICAS})
    )
    first = work.ended(victim, accepted.deployment_id)
    assert first.status is DeploymentStatus.ACTIVE, first.message
    return model
